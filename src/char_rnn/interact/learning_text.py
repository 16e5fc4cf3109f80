"""A text whose model learns from what the person wrote.

The model after a text depends on the letters of the text only. It has learned from the complete segments, from the
letters in them that the person typed or chose. Its state is that of the learner after these segments, and the engine
reads the rest. So nothing but the learner's weights has to be saved for undo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.learning import SEGMENT, Learning, Segment, segments_of
from char_rnn.interact.text import Letter, LiveText, SavedPoint


class LearningText(LiveText):
    """A `LiveText` with a model that learns.

    While :attr:`is_behind`, the predictions are those of earlier weights; :meth:`catch_up` corrects them.
    """

    def __init__(self, learning: Learning, vocabulary: Vocabulary, others: int) -> None:
        self._learning, self._engine = learning, learning.engine
        super().__init__(self._engine, vocabulary, others)
        self._segments = 0  # number that the model has learned from

    @property
    def is_behind(self) -> bool:
        """Whether the model has not learned from all complete segments of the text yet."""
        return self._segments != max(0, len(self) - 1) // SEGMENT

    def rewrite(self, kept: int, added: Sequence[Letter], _points: Sequence[SavedPoint] = ()) -> Sequence[SavedPoint]:
        """Replace the text after its first `kept` letters, and return to the latest saved weights along it."""
        self.letters[kept:] = added
        self._decoder = self.decoder()
        self._rejoin(self._learning.go_back(self._complete()))
        return ()

    def catch_up(self) -> Iterator[int]:
        """Learn from the text; yield the number of segments that are left before each."""
        if not self.is_behind:
            return
        segments = self._complete()
        yield from self._learning.follow(segments)
        self._rejoin(len(segments))

    def _complete(self) -> list[Segment]:
        symbols, chosen = [letter.symbol for letter in self.letters], [letter.chosen for letter in self.letters]
        return segments_of(symbols, chosen, whole=True)

    def _rejoin(self, segments: int) -> None:
        """Read the text after these segments, the last that were learned, with the present weights."""
        if self._engine is not self._learning.engine:
            self._engine = self._learning.engine
            self.streams = self._engine.begin(len(self.streams))
        self.streams.reset(0)
        if segments:
            self.streams.set_hidden(self._learning.learner.state(), 0)
        self._segments, self.log_probs = segments, self._uniform()
        for letter in self.letters[segments * SEGMENT :]:
            self._step(letter.symbol)

    def _save(self) -> None:
        """Save nothing: the learner's weights are saved."""
