"""The families of networks: one file each, with a generator, a discriminator and a Family that names them."""
