"""What do the loop, the range test, the loader and the start of the program cost, beside others and the hardware?"""
