"""Does a range test tell who can train faster?"""
