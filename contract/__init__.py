"""What edge, hub and provisioning agree on: states, formats, seals and topics. Pure, except the two channels."""
