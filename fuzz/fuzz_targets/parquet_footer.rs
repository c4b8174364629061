#![no_main]

#[path = "../properties.rs"]
#[expect(dead_code, reason = "each target has one property")]
mod properties;

use std::panic;
use std::sync::Once;

static HOOK: Once = Once::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The Parquet library may panic on a damaged file, which the reader catches; the fuzzer's own hook would
    // end the process before that. A panic that nobody catches still does.
    HOOK.call_once(|| panic::set_hook(Box::new(|_| ())));
    properties::parquet_footer(data);
});
