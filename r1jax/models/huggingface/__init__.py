"""Models as Hugging Face folders hold them: `config.json`, the names of tensors, their files; both ways."""
