"""Where an answer goes on after a catch."""

from dataclasses import replace

from service.gateway.pieces import Piece


class Seam:
    """Where an answer goes on after blanks that it has already: it does not say them again."""

    def __init__(self, blanks: str) -> None:
        self._blanks = blanks

    def joined(self, piece: Piece) -> Piece:
        """The piece without the blanks that were there before."""
        return replace(piece, texts=tuple((channel, self._rest(t)) for channel, t in piece.texts))

    def _rest(self, text: str) -> str:
        while self._blanks and text:
            if text[0] != self._blanks[0]:
                self._blanks = ""
                break
            self._blanks, text = self._blanks[1:], text[1:]
        return text
