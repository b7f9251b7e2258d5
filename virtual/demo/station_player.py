"""The operator and the section head at the personalisation station, by the requests that its page makes."""
