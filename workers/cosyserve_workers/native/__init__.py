"""The engine `native`: CosyVoice2 from its published weights, by our own inference.

The way in is `loading.create`. Who goes next: `scheduler`. What a turn does: `networks`. What crosses
threads: `driver`.
"""
