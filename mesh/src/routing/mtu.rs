//! Sizes of inner packets as classes of four bits, so that every advertised route can say what fits through it.

/// Largest inner packet of each class, bytes. Class 0 always works; 1417 is what an interface of 1500 bytes carries, 1500
/// what one of 1583 does.
const CLASSES: [u16; 16] = [
    1280, 1320, 1360, 1400, 1417, 1440, 1472, 1500, 1600, 2048, 2304, 3072, 4096, 7900, 8900,
    16_000,
];

/// Bytes a data frame adds to the inner packet within the UDP payload: link header 45, session 8 + 6 + 16, less the
/// 40-byte IPv6 header that is not sent.
pub const FRAME_OVERHEAD: u16 = 45 + 8 + 6 + 16 - 40;

/// The class of an interface whose UDP payloads may be `payload` bytes long.
pub fn class_of_payload(payload: u16) -> u8 {
    let inner = payload.saturating_sub(FRAME_OVERHEAD);
    let fitting = CLASSES.iter().take_while(|&&size| size <= inner).count();
    // At most 16 classes: fits.
    fitting.saturating_sub(1) as u8
}

/// Largest inner packet of a class, bytes; unknown classes count as the smallest.
pub fn size_of_class(class: u8) -> u16 {
    CLASSES
        .get(usize::from(class))
        .copied()
        .unwrap_or(CLASSES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ethernet_carries_1417_and_a_raised_one_1500() {
        assert_eq!(size_of_class(class_of_payload(1500 - 48)), 1417);
        assert_eq!(size_of_class(class_of_payload(1583 - 48)), 1500);
        assert_eq!(size_of_class(class_of_payload(500)), 1280);
        assert_eq!(size_of_class(200), 1280);
    }
}
