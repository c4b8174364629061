//! Integration tests, one binary, since arrow is slow to link.

mod layers;
mod spine;
mod support;
