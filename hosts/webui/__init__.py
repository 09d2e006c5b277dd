"""Adapter for Forge and A1111: one always visible script. Imports only the web UI's own modules and core; there is no maths in here.

Who is in which room:

- ``script``: the hooks that the web UI calls, in their order. Each is a few lines that ask the rooms below. The state of a generation
  is a ``Job``, kept on the web UI's processing object ``p`` as ``p.uncertainty``, and gone with it.
- ``settings``: ``Settings``, what a person sets: one dataclass, read from the values of the accordion, from the dictionary of the API, or
  from an infotext, and written to one. A new setting is a new field at its end, a place in ``page.layout``, a line in ``page.texts`` and
  in ``localizations``. ``bounds``: what each number may be.
- ``job``: what one generation has measured so far, by image; notes for the person.
- ``filter``: which pictures are kept, and what becomes of the others; ``files``: calibrations.
- ``support``: which hooks this web UI has.
- ``page``: what a person sees. ``panel`` (gradio) builds the accordion after ``layout`` and ``texts``, which tells the price too;
  ``infotext`` is what is written with each image, and pasted back; ``notes`` what is written into its file; ``pictures`` are heatmaps;
  ``axes`` those of the X/Y/Z plot, which set ``p.uncertainty_overrides``, a dictionary that goes over the settings of one generation.
- ``sampling``: ``batch`` begins and ends the samplings of a batch. ``run`` is what is measured and moved in one of them, told its steps
  by Forge's patcher (``patch``) or by A1111's callbacks (``callbacks``; ``dispatch`` knows whose each is). ``information`` is measured
  after sampling. For Forge alone: ``model`` makes a denoiser of a compiled condition, ``conditions`` the negative prompt's, ``gradient``
  serves the guidance mode autograd, ``search`` ends candidates on the way, ``ensemble`` draws again with LoRAs, ``isolation`` keeps other
  people's patches apart.
"""
