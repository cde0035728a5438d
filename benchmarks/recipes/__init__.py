"""What is a recipe worth that was found in a tenth of the steps?"""
