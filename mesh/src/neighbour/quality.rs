//! How well a neighbour is heard, from the sequence numbers of its HELLOs, and how well it hears us, from what they say:
//! two-way as B.A.T.M.A.N.'s TQ.

/// Weight of one HELLO in the average.
const WEIGHT: f32 = 1.0 / 32.0;
/// A larger gap is a restart or a long silence and says nothing about loss.
const LARGEST_GAP: u16 = 20;
/// Share of frames lost above which a link counts as lossy.
const LOSSY: f32 = 0.97;

/// Averages of both directions, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    rx: f32,
    tx: f32,
    last_seq: Option<u16>,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            rx: 1.0,
            tx: 1.0,
            last_seq: None,
        }
    }
}

impl Quality {
    /// A HELLO with this sequence number came.
    pub fn on_hello(&mut self, seq: u16) {
        let gap = self.last_seq.map(|last| seq.wrapping_sub(last));
        if let Some(gap) = gap
            && (1..LARGEST_GAP).contains(&gap)
        {
            for _ in 1..gap {
                self.rx *= 1.0 - WEIGHT;
            }
            self.rx += (1.0 - self.rx) * WEIGHT;
        }
        // An old one that was overtaken does not set the clock back.
        if gap.is_none_or(|gap| gap < u16::MAX / 2) {
            self.last_seq = Some(seq);
        }
    }

    /// The neighbour says how it hears us (255 is all).
    pub fn on_heard(&mut self, quality: u8) {
        self.tx = f32::from(quality) / 255.0;
    }

    /// Share of the neighbour's HELLOs that arrive, 255 is all.
    pub fn rx_byte(&self) -> u8 {
        // 0 to 255 by construction.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let byte = (self.rx * 255.0).round() as u8;
        byte
    }

    /// Share of the neighbour's HELLOs that arrive.
    pub const fn rx(&self) -> f32 {
        self.rx
    }

    /// Share of our HELLOs that arrive there.
    pub const fn tx(&self) -> f32 {
        self.tx
    }

    /// Share of exchanges that get through both ways.
    pub fn delivery(&self) -> f32 {
        self.rx * self.tx
    }

    /// Whether either direction loses more than 3 %.
    pub fn is_lossy(&self) -> bool {
        self.rx.min(self.tx) < LOSSY
    }

    /// Probes after which silence means that the link is dead but for one case in ten thousand: 4 to 16.
    pub fn probes_needed(&self) -> u32 {
        let lost = (1.0 - self.delivery()).clamp(0.02, 0.99);
        // 1e-4 over a number between 0.02 and 0.99: between 2 and 917.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = (1e-4f32.ln() / lost.ln()).ceil() as u32;
        count.clamp(4, 16)
    }

    /// A silence ended: gaps before it say nothing about loss.
    pub const fn forget_sequence(&mut self) {
        self.last_seq = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_hellos_lost_comes_to_half_the_quality() {
        let mut quality = Quality::default();
        (0..1000u16).for_each(|n| quality.on_hello(n * 2));
        assert!((quality.rx() - 0.5).abs() < 0.05, "{}", quality.rx());
        assert!(quality.is_lossy());
    }

    #[test]
    fn a_restart_is_no_loss() {
        let mut quality = Quality::default();
        quality.on_hello(100);
        quality.on_hello(5000);
        quality.on_hello(1);
        assert!(!quality.is_lossy());
    }

    #[test]
    fn a_good_link_is_probed_four_times_and_a_bad_one_sixteen() {
        let mut quality = Quality::default();
        assert_eq!(quality.probes_needed(), 4);
        quality.on_heard(60);
        assert_eq!(quality.probes_needed(), 16);
    }
}
