"""TensorFlow's and Keras' files read without running them, and their models as originals."""
