"""Adapter for Forge and A1111: one always visible script. Imports only the web UI's own modules and core; there is no maths in here.

Who is in which room:

- ``script``: the hooks that the web UI calls, in their order. Each is a few lines that ask the rooms below. The state of a generation
  is a ``Job``, kept on the web UI's processing object ``p`` as ``p.uncertainty``, and gone with it.
- ``settings``: ``Settings``, what a person sets: one dataclass, read from the values of the accordion, from the dictionary of the API, or
  from an infotext, and written to one. A new setting is a new field at its end, a component in ``panel``, and a line in ``texts``.
- ``panel`` (gradio): the accordion, one component a field, and what it says before a run (the price).
- ``job``: what one generation has measured so far, by image; notes for the person.
- ``infotext``: what is written with each image, and pasted back.
- ``model``: the denoiser that Forge's model and a compiled condition make, and its noise process.
- ``patch``: what is measured and moved while the sampler runs, from a post-CFG function on a clone of the model's patcher.
- ``gradient``: for the guidance mode autograd.
- ``information``: prompt information, after sampling.
- ``filter``: which pictures are kept, and what becomes of the others; ``files``: calibrations.
- ``pictures``: heatmaps.
- ``support``: which hooks this web UI has. ``model``, ``patch`` and ``information`` are imported only where it has them.
- ``axes``: of the X/Y/Z plot; they set ``p.uncertainty_overrides``, a dictionary that goes over the settings of one generation.
- ``bounds``: what each number may be.
- Not here yet: ensembles of LoRAs (``ensemble``).
"""
