//! Costs and metric steps: how far a destination is, exactly (for choosing) and coarsely (for safety).
//!
//! A cost is airtime: 1 is what one hop of 1 Gbit/s takes, costs of hops add up. A path that enters and leaves by the
//! same half-duplex radio shares the air, and the sum says just that.

/// Cost of one path; 1 is one hop of 1 Gbit/s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(pub u32);

/// Largest cost: what the wire format can carry without overflowing sums.
pub const MAX_COST: Cost = Cost(1 << 28);
/// Number of metric steps: a route whose step would reach it is unusable.
pub const STEPS: u32 = 128;
/// Cost of a link whose speed nobody knows: as 62.5 Mbit/s, never as 0 or 1 Mbit/s.
pub const UNKNOWN_LINK_COST: Cost = Cost(16);
/// [`Cost::floor_of_step`] of every step.
pub const FLOORS: [Cost; STEPS as usize] = floors();

const fn floors() -> [Cost; STEPS as usize] {
    let mut floors = [Cost(0); STEPS as usize];
    let mut step = 0;
    while step < floors.len() {
        floors[step] = Cost::floor_of_step(step as u8);
        step += 1;
    }
    floors
}

/// Delivery ratio (product of both directions) below which a link's cost grows no further.
const WORST_DELIVERY: f32 = 0.1;

impl Cost {
    /// The cost of this path followed by `other`.
    pub const fn plus(self, other: Self) -> Self {
        let sum = self.0.saturating_add(other.0);
        if sum > MAX_COST.0 {
            MAX_COST
        } else {
            Self(sum)
        }
    }

    /// The metric step of this cost alone: four steps per octave, rounded up.
    pub const fn step(self) -> u32 {
        let cost = if self.0 == 0 { 1 } else { self.0 as u128 };
        let fourth = cost * cost * cost * cost;
        128 - (fourth - 1).leading_zeros()
    }

    /// The step that a node advertises whose next hop advertises `previous` and whose whole path costs this much:
    /// strictly more than `previous`. `None` beyond the last step.
    pub fn step_after(self, previous: u8) -> Option<u8> {
        let step = (u32::from(previous) + 1).max(self.step());
        u8::try_from(step)
            .ok()
            .filter(|&step| u32::from(step) < STEPS)
    }

    /// The lowest cost that an honest path of this metric step can have: a cost below it is a lie, and counts as this
    /// much. (Either one link costs what the step says, or each further hop costs 1 and makes one step.)
    pub const fn floor_of_step(step: u8) -> Self {
        let mut floor = 0;
        let mut reached = 0;
        while reached < step {
            reached += 1;
            let by_hop = floor + 1;
            let by_link = Self::cheapest_of_step(reached as u32);
            floor = if by_link < by_hop { by_link } else { by_hop };
        }
        Self(floor)
    }

    /// The lowest cost of at least this step by itself.
    const fn cheapest_of_step(step: u32) -> u32 {
        let mut low = 1;
        let mut high = MAX_COST.0;
        while low < high {
            let middle = low + (high - low) / 2;
            if Self(middle).step() >= step {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// Sixteen bits for the wire: 5 bits of exponent, 11 of mantissa, rounded up (at most 1/1024 too large).
    pub const fn to_wire(self) -> u16 {
        let value = if self.0 > MAX_COST.0 {
            MAX_COST.0
        } else {
            self.0
        };
        let bits = 32 - value.leading_zeros();
        let shift = bits.saturating_sub(11);
        let mut mantissa = (value + ((1 << shift) - 1)) >> shift;
        let mut exponent = shift;
        if mantissa == 1 << 11 {
            mantissa >>= 1;
            exponent += 1;
        }
        ((exponent << 11) | mantissa) as u16
    }

    /// The inverse of [`Cost::to_wire`]; whatever the sixteen bits say stays below [`MAX_COST`].
    pub const fn from_wire(wire: u16) -> Self {
        let mantissa = (wire & 0x7ff) as u64;
        let value = mantissa << (wire >> 11);
        if value > MAX_COST.0 as u64 {
            MAX_COST
        } else {
            Self(value as u32)
        }
    }

    /// The cost of a link of `kbps` kbit/s over which the share `delivery` (0 to 1) of frames gets through both ways.
    pub fn of_link(kbps: Option<u32>, delivery: f32) -> Self {
        let base = kbps.map_or(UNKNOWN_LINK_COST.0, |kbps| {
            1_000_000u32.div_ceil(kbps.max(1))
        });
        let attempts = 1.0 / delivery.clamp(WORST_DELIVERY, 1.0);
        let cost = (f64::from(base.max(1)) * f64::from(attempts)).round();
        // Rounded, positive and bounded by ten times a 20-bit number: the conversion is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Self((cost as u32).clamp(1, MAX_COST.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_steps_make_an_octave() {
        assert_eq!(Cost(1).step(), 0);
        assert_eq!(Cost(2).step(), 4);
        assert_eq!(Cost(16).step(), 16);
        assert_eq!(Cost(17).step(), 17);
        assert_eq!(Cost(1 << 28).step(), 112);
    }

    #[test]
    fn no_honest_path_costs_less_than_the_floor_of_its_step() {
        // All paths of up to 12 hops whose links cost 1, 2, 5, 16 or 100, by breadth.
        let mut paths = vec![(0u32, 0u8)];
        for _ in 0..6 {
            paths = paths
                .iter()
                .flat_map(|&(cost, step)| {
                    [1, 2, 5, 16, 100].map(|link| {
                        let cost = Cost(cost + link);
                        (cost.0, cost.step_after(step).unwrap())
                    })
                })
                .collect();
            for &(cost, step) in &paths {
                assert!(FLOORS[usize::from(step)].0 <= cost, "{cost} at {step}");
            }
        }
        assert_eq!(FLOORS[0], Cost(0));
        assert!(FLOORS[40].0 > 30);
    }

    #[test]
    fn an_unknown_speed_is_neither_nothing_nor_one_megabit() {
        assert_eq!(Cost::of_link(None, 1.0), UNKNOWN_LINK_COST);
        assert_eq!(Cost::of_link(Some(0), 1.0).0, 1_000_000);
        assert_eq!(Cost::of_link(Some(10_000_000), 1.0), Cost(1));
    }

    proptest! {
        #[test]
        fn the_wire_form_is_never_smaller_and_close(cost in 0..=MAX_COST.0) {
            let back = Cost::from_wire(Cost(cost).to_wire()).0;
            prop_assert!(back >= cost);
            prop_assert!(u64::from(back) * 1024 <= u64::from(cost) * 1025 + 1024);
        }

        #[test]
        fn the_wire_form_is_monotonic(a in 0..=MAX_COST.0, b in 0..=MAX_COST.0) {
            prop_assert_eq!(a.min(b) == a, Cost(a).to_wire() <= Cost(b).to_wire() || Cost(a).to_wire() == Cost(b).to_wire());
        }

        #[test]
        fn a_step_always_grows_along_a_path(cost in 1..MAX_COST.0, previous in 0u8..127) {
            if let Some(step) = Cost(cost).step_after(previous) {
                prop_assert!(step > previous);
            }
        }
    }
}
