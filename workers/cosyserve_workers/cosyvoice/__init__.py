"""The engine `cosyvoice`: CosyVoice2 and CosyVoice3, run by the CosyVoice library, with TensorRT where it is.

The way in is `factory.create`. What becomes of unusual texts: `text`. Which accelerations are asked for, and where
plans are kept: `accelerations`. How a request runs, and why not in the library's own loop: `speech`.
"""
