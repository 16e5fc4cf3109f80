"""Models in other forms: one HTML page, ONNX, a plain PyTorch state dict."""
