"""Models in other formats: an HTML page, ONNX, a PyTorch state dict."""
