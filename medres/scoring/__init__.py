"""How are new images scored?

Images in, a probability per finding and study out; what cannot be scored is listed with a reason.
"""
