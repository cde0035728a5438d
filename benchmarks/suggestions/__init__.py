"""What does a suggested learning rate cost in accuracy, ours and that of others?"""
