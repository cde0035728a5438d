"""What do estimates from curvature know, and what do they cost?"""
