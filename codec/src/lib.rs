//! What every figure goes through on its way into a lake: its answer's JSON is read, its rows are hashed, its columns
//! are encoded.
//!
//! This is a package of its own to be compiled for speed. The rest of the program is compiled for size, since most of
//! it runs once, and generic code of the libraries counts as part of the package that uses it. So nothing that is
//! public here is generic. Of streams, settings and lakes it knows nothing.

pub mod answer;
mod column;
mod file;
mod hash;
mod memory;
mod text;

pub use file::write;
pub use hash::content_hash;
pub use text::repeated;
