"""The first file that the board runs. It only hands over: what is compiled on the board costs memory there."""

import starter  # type: ignore[import-not-found]  # it lies beside this file

starter.run()
