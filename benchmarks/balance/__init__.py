"""Must other regularisation shrink under a large learning rate?"""
