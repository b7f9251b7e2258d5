"""The hub's process under a wall clock that leaps: as in service, but it looks after its lists twice a second.

While the file `unplugged` lies beside hub.toml the module with the issuing key does not sign revocation lists.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from contract.errors import DeviceError
from hub import __main__ as hub_main
from hub import authority, commissioning_service
from hub import service as hub_service

UNPLUGGED = "unplugged"


def main() -> None:
    """`rekam-hub run --config …`."""
    commissioning_service.FULL_INTERVAL_S = 0.5
    hub_service.FLEET_WATCH_INTERVAL_S = 2.0
    flag = Path(sys.argv[-1]).with_name(UNPLUGGED)
    sign = authority.make_revocation_list

    def sign_if_plugged(*arguments: Any, **names: Any) -> bytes:
        if flag.exists():
            raise DeviceError("The module with the issuing key does not answer.", next_step="Plug it in.")
        return sign(*arguments, **names)

    authority.make_revocation_list = sign_if_plugged
    hub_main.main()


if __name__ == "__main__":
    main()
