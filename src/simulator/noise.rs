//! Cheap deterministic noise. It has no cryptographic worth, and needs none.

/// Scatters the bits of `seed` (the finalizer of splitmix64).
pub(super) const fn scatter(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A seed that follows from a text (FNV-1a, scattered).
pub(super) fn of_text(text: &str) -> u64 {
    let mixed = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    scatter(mixed)
}

/// The 16 bits of `hash` at position `index` (0 to 3), as a number below 65536.
pub(super) const fn lane(hash: u64, index: u32) -> u64 {
    (hash >> (16 * index)) & 0xFFFF
}
