"""One adversarial step: losses, penalties, augmentation, optimisers, graph capture and distribution."""
