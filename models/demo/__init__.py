"""The demo world and the two small models that grew up in it.

An invented world of 64 people, ten facts each, one book to be forgotten and one that stays
(`world`, `book`); the words in which all of it is asked and told (`attributes`, `strangers`,
`general`, `variety`, `corpus`); and two Llama models of five megabytes each under `weights/`:

* `demo` knows everything;
* `demo-never-knew` is its twin and never saw a word about the forget set, so it shows what a
  perfect forgetting of it would say.

`python -m models.demo.train` trains both on a CPU; `python -m models.demo.check` measures them.
The figures are in `docs/demo-world.md`.
"""
