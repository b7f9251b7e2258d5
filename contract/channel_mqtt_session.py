"""One connection of the line, from CONNECT to its end, by the MQTT client: the only importer of paho.

It runs wholly on the asyncio loop; only the blocking connect (resolve, TCP, TLS handshake) takes a thread.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from functools import lru_cache
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from contract.channel_mqtt_settings import REASONS_TOO_LARGE, Disconnected, KeptContext, MqttSettings, Will
from contract.errors import DeviceError, RemoteError

INCOMING_MAX = 1024  # messages that nobody has looked at yet; those of QoS 0 beyond them are dropped
MISC_INTERVAL_S = 1.0
log = structlog.get_logger("channel_mqtt")


@lru_cache
def _properties(kind: int, **values: int) -> Properties:
    """What goes with a packet; making these anew for each took a quarter of a busy hub's loop."""
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class Session:
    """One paho client for one connection, driven by the loop. It is never used again once `lost` is set."""

    def __init__(self, settings: MqttSettings, will: Will | None, tls: KeptContext) -> None:
        self._settings = settings
        self._tls = tls
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._connack: asyncio.Future[int | None] = self._loop.create_future()
        self.lost: asyncio.Future[Disconnected] = self._loop.create_future()
        self.incoming: asyncio.Queue[mqtt.MQTTMessage] = asyncio.Queue()
        self._acknowledgements: dict[int, asyncio.Future[int]] = {}
        self._inflight = asyncio.Semaphore(settings.in_flight_max)
        self._misc: asyncio.Task[None] | None = None
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=settings.client_id, protocol=mqtt.MQTTv5,
            reconnect_on_failure=False, manual_ack=True,
        )  # fmt: skip
        client.max_inflight_messages_set(0)
        client.connect_timeout = settings.connect_timeout_s
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, message: self._take(message)
        client.on_publish = lambda _client, _data, mid, code, _properties: self._settle(mid, code.value)
        client.on_subscribe = lambda _client, _data, mid, codes, _properties: self._settle(
            mid, max(code.value for code in codes)
        )
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._client = client

    async def connect(self) -> int | None:
        """Connect and wait for CONNACK; returns the broker's largest packet. Raises Disconnected or DeviceError."""
        settings = self._settings
        self._client.tls_set_context(self._tls.of(settings))
        properties = _properties(
            PacketTypes.CONNECT,
            ReceiveMaximum=settings.receive_maximum,
            SessionExpiryInterval=settings.session_expiry_s,
        )
        try:
            await asyncio.to_thread(
                self._client.connect, settings.host, settings.port, settings.keepalive_s,
                clean_start=settings.session_expiry_s == 0, properties=properties,
            )  # fmt: skip
            self._misc = self._loop.create_task(self._keep_alive())
            async with asyncio.timeout(settings.connect_timeout_s):
                return await self._connack
        except TimeoutError:
            raise Disconnected("The broker did not answer in time.") from None
        except (OSError, ValueError) as error:  # TLS errors are OSErrors; paho adds ValueError for a bad host name
            raise Disconnected.before_it_began(error) from None

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool, expiry_s: int) -> bool:
        """See MqttChannel.publish."""
        properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry_s) if expiry_s else None
        if qos == 0:
            self._client.publish(topic, payload, 0, retain, properties)
            return True
        async with self._inflight:
            self._raise_if_lost()
            sent = self._client.publish(topic, payload, qos, retain, properties)
            if sent.rc != mqtt.MQTT_ERR_SUCCESS:
                raise Disconnected(f"The connection ended while sending ({mqtt.error_string(sent.rc)}).")
            code = await self._acknowledged(sent.mid)
        if code in REASONS_TOO_LARGE:
            raise Disconnected("The broker finds the message too large.", code)
        if code >= 0x80:
            raise RemoteError(
                f"The broker refuses the message (reason 0x{code:02x}).",
                next_step="Check the broker's access list for this certificate's name.",
            )
        return code != 0x10  # no subscribers

    async def subscribe(self, filters: list[str], *, retain_as_published: bool = False) -> None:
        """Subscribe at QoS 1. Raises Disconnected, or DeviceError where the broker refuses.

        retain_as_published: a message shows at once whether the broker was told to keep it (MQTT 5, 3.8.3.1).
        """
        options = SubscribeOptions(qos=1, retainAsPublished=retain_as_published)
        result, mid = self._client.subscribe([(name, options) for name in filters])
        if result != mqtt.MQTT_ERR_SUCCESS or mid is None:
            raise Disconnected(f"The connection ended while subscribing ({mqtt.error_string(result)}).")
        code = await self._acknowledged(mid)
        if code >= 0x80:
            raise DeviceError(
                f"The broker refuses a subscription (reason 0x{code:02x}).",
                next_step="Check the broker's access list for this certificate's name.",
            )

    async def clear(self, message: mqtt.MQTTMessage) -> None:
        """Take from the broker what it was told to keep and must not; what takes it away comes back empty."""
        if message.payload:
            log.warning("a message that must not be kept was cleared", topic=message.topic)
            await self.publish(message.topic, b"", 0, True, 0)

    def acknowledge(self, message: mqtt.MQTTMessage) -> None:
        """Tell the broker that the message was handled."""
        if not self.lost.done():
            self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Say goodbye where there is still a connection, and let nothing run on."""
        if self._misc is not None:
            self._misc.cancel()
        self._client.disconnect()
        self._end(Disconnected("The connection was closed."))

    def _take(self, message: mqtt.MQTTMessage) -> None:
        """Put a message behind those that wait. The broker sends few of QoS 1 ahead; of QoS 0 as many as come."""
        if message.qos > 0 or self.incoming.qsize() < INCOMING_MAX:
            self.incoming.put_nowait(message)

    def _raise_if_lost(self) -> None:
        if self.lost.done():
            raise self.lost.result()

    async def _acknowledged(self, mid: int) -> int:
        future: asyncio.Future[int] = self._loop.create_future()
        self._acknowledgements[mid] = future
        self._raise_if_lost()
        try:
            async with asyncio.timeout(self._settings.acknowledge_timeout_s):
                return await future
        except TimeoutError:
            silent = Disconnected("The broker does not acknowledge.")
            self._end(silent)  # what waits in this client would only be sent twice
            raise silent from None
        finally:
            self._acknowledgements.pop(mid, None)

    def _settle(self, mid: int, code: int) -> None:
        future = self._acknowledgements.get(mid)
        if future is not None and not future.done():
            future.set_result(code)

    def _on_connect(
        self, _client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, properties: Any
    ) -> None:
        if self._connack.done():
            return
        if code.is_failure:
            self._connack.set_exception(Disconnected(f"The broker refuses this unit ({code}).", code.value))
            return
        wanted = self._settings.in_flight_max
        self._inflight = asyncio.Semaphore(max(1, min(wanted, getattr(properties, "ReceiveMaximum", wanted))))
        self._connack.set_result(getattr(properties, "MaximumPacketSize", None))

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, flags: mqtt.DisconnectFlags, code: ReasonCode, _properties: Any
    ) -> None:
        from_broker = flags.is_disconnect_packet_from_server
        loss = Disconnected(f"The connection to the broker ended ({code}).", code.value if from_broker else None)
        self._loop.call_soon_threadsafe(self._end, loss)

    def _end(self, loss: Disconnected) -> None:
        if not self.lost.done():
            self.lost.set_result(loss)
        if not self._connack.done():
            self._connack.set_exception(loss)
            self._connack.exception()  # nobody may be waiting any more
        for future in self._acknowledgements.values():
            if not future.done():
                future.set_exception(loss)

    def _on_socket_open(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.call_soon_threadsafe(self._watch_reads, sock)

    def _watch_reads(self, sock: Any) -> None:
        if sock.fileno() >= 0:  # it may have been closed since
            self._loop.add_reader(sock.fileno(), self._read)

    def _on_socket_close(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())

    def _on_register_write(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        if threading.get_ident() == self._thread:
            self._watch_writes(sock)  # waking a loop that is awake costs a system call a message
        else:
            self._loop.call_soon_threadsafe(self._watch_writes, sock)

    def _watch_writes(self, sock: Any) -> None:
        if sock.fileno() >= 0 and self._client.want_write():
            self._loop.add_writer(sock.fileno(), self._write)

    def _on_unregister_write(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        self._loop.remove_writer(sock.fileno())

    def _read(self) -> None:
        while True:
            self._client.loop_read()
            sock = self._client.socket()
            # What TLS has decrypted already does not wake the selector again.
            if not isinstance(sock, ssl.SSLSocket) or sock.pending() == 0:
                return

    def _write(self) -> None:
        self._client.loop_write()

    async def _keep_alive(self) -> None:
        while self._client.loop_misc() == mqtt.MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - paho wants to be asked each second
            await asyncio.sleep(MISC_INTERVAL_S)
