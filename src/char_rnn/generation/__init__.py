"""Text generation with a trained model, without PyTorch."""
