"""cosyserve: CosyVoice2 text-to-speech behind HTTP.

This package is the front end. It never imports torch, onnxruntime or any model code: those live in
`cosyserve_workers`, which only worker processes import.
"""

__version__ = "0.1.0"
