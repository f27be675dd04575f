//! From whom. A pure choice over the sources that could give a piece now.
//!
//! A policy is a file of its own below this one, and a line of `source_policies!`: the command
//! line, its help and the pages take its name and its summary from there.

use dunlin_base::{Rate, Rng};
use std::cmp::Ordering;
use std::fmt;

/// Declares the modules of policies, and lists them in [`SourceOrder::ALL`].
macro_rules! source_policies {
    ($(mod $module:ident;)+) => {
        $(mod $module;)+

        impl SourceOrder {
            /// Every policy, in the order of the documentation.
            pub const ALL: &'static [SourceOrder] = &[$(SourceOrder(&$module::POLICY),)+];
        }
    };
}

source_policies! {
    mod fastest;
    mod round_robin;
    mod random;
    mod two_choices;
    mod least_busy;
    mod least_loaded;
}

/// A source as the choice sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceView {
    /// Its place in the tracker's order.
    pub place: u32,
    /// Its load as the tracker last reported it.
    pub load: u64,
    /// Pieces that were asked of it since that report: ours, and as many for each other asker.
    pub asked: u64,
    /// Bytes it owes us.
    pub in_flight: u64,
    /// What it gives us; 0 where nothing was measured yet.
    pub rate: Rate,
    /// When we last chose it (a counter); 0 if never.
    pub last_chosen: u64,
}

/// A way to choose a source.
#[derive(Debug)]
pub struct SourcePolicy {
    /// Its name on the command line. No other policy has it.
    pub name: &'static str,
    /// Whom it chooses: the rest of the sentence that its name begins, for the help.
    pub summary: &'static str,
    /// Whether it states exactly whose turn it is. A piece then waits for that source, although
    /// others could give it at once.
    pub is_strict: bool,
    /// Whether it reads [`SourceView::load`]. The tracker then asks members for their loads.
    pub needs_loads: bool,
    /// Chooses one of the sources, of which there is at least one; returns its index, or `None` if
    /// none of them is to be asked now. The second argument is the place of the one that was chosen
    /// last. All that is random comes from the generator: equal seeds choose alike.
    pub choose: fn(&[SourceView], Option<u32>, &mut Rng) -> Option<usize>,
}

/// From whom: one of the policies.
#[derive(Clone, Copy)]
pub struct SourceOrder(&'static SourcePolicy);

impl SourceOrder {
    /// The order of a policy, which need not be one of [`SourceOrder::ALL`].
    #[must_use]
    pub const fn new(policy: &'static SourcePolicy) -> SourceOrder {
        SourceOrder(policy)
    }

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Whom it chooses, for the help.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.0.summary
    }

    /// Whether it states exactly whose turn it is.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        self.0.is_strict
    }

    /// Whether it reads the loads of sources.
    #[must_use]
    pub const fn needs_loads(self) -> bool {
        self.0.needs_loads
    }

    /// Chooses one of `sources`; returns its index, or `None` if there is none. `last` is the place
    /// of the one that was chosen last: round robin takes the next in the tracker's order.
    pub fn choose(self, sources: &[SourceView], last: Option<u32>, rng: &mut Rng) -> Option<usize> {
        if sources.is_empty() { None } else { (self.0.choose)(sources, last, rng) }
    }
}

impl PartialEq for SourceOrder {
    fn eq(&self, other: &SourceOrder) -> bool {
        self.name() == other.name()
    }
}

impl Eq for SourceOrder {}

impl fmt::Debug for SourceOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SourceOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The index of the first of the least sources.
fn best(
    sources: &[SourceView],
    compare: impl Fn(&SourceView, &SourceView) -> Ordering,
) -> Option<usize> {
    (0..sources.len()).min_by(|a, b| compare(&sources[*a], &sources[*b]))
}

/// Any index.
fn draw(sources: &[SourceView], rng: &mut Rng) -> usize {
    rng.below(sources.len() as u64) as usize
}

/// Whoever was chosen longest ago; before the first round in the tracker's order.
fn rotation(source: &SourceView) -> (u64, u32) {
    (source.last_chosen, source.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One source a word: load/asked/in-flight/rate/last-chosen.
    fn sources(drawing: &str) -> Vec<SourceView> {
        drawing
            .split_whitespace()
            .enumerate()
            .map(|(place, word)| {
                let n: Vec<u64> = word.split('/').map(|n| n.parse().unwrap()).collect();
                SourceView {
                    place: place as u32,
                    load: n[0],
                    asked: n[1],
                    in_flight: n[2],
                    rate: Rate(n[3]),
                    last_chosen: n[4],
                }
            })
            .collect()
    }

    #[test]
    fn each_order_has_its_reason() {
        const FASTEST: SourceOrder = SourceOrder::FASTEST;
        const LEAST_BUSY: SourceOrder = SourceOrder::LEAST_BUSY;
        const LEAST_LOADED: SourceOrder = SourceOrder::LEAST_LOADED;
        let cases = [
            (FASTEST, "0/0/0/10/1 0/0/0/20/2", 1),
            (FASTEST, "0/0/0/10/1 0/0/9/20/2", 0),
            (FASTEST, "0/0/0/10/1 0/0/0/0/0", 1),
            (FASTEST, "0/0/5/10/1 0/0/5/0/0", 0),
            (FASTEST, "0/0/4/10/3 0/0/4/10/2", 1),
            (LEAST_BUSY, "5/0/0/0/0 4/99/0/0/9 4/0/0/0/0", 1),
            (LEAST_LOADED, "5/0/0/0/0 4/99/0/0/9 4/0/0/0/0", 2),
            (LEAST_LOADED, "4/1/0/0/7 5/0/0/0/3", 1),
        ];
        for (order, drawing, expected) in cases {
            let chosen = order.choose(&sources(drawing), None, &mut Rng::new(1));
            assert_eq!(chosen, Some(expected), "{order} of {drawing}");
        }
        for order in SourceOrder::ALL {
            assert_eq!(order.choose(&[], None, &mut Rng::new(1)), None);
        }
    }

    #[test]
    fn round_robin_goes_down_the_list_and_begins_again() {
        let mut three = sources("0/0/0/0/9 0/0/0/0/0 0/0/0/0/5");
        let next = |three: &[SourceView], last| {
            SourceOrder::ROUND_ROBIN.choose(three, last, &mut Rng::new(1)).map(|i| three[i].place)
        };
        assert_eq!(next(&three, None), Some(0));
        assert_eq!(next(&three, Some(0)), Some(1));
        assert_eq!(next(&three, Some(1)), Some(2));
        assert_eq!(next(&three, Some(2)), Some(0));
        three.remove(1);
        assert_eq!(next(&three, Some(0)), Some(2), "who refused is passed over");
        assert_eq!(next(&three, Some(1)), Some(2));
    }

    #[test]
    fn two_choices_never_takes_the_most_loaded_of_two() {
        let pair = sources("9/0/0/0/0 1/0/0/0/0");
        for seed in 0..50 {
            assert_eq!(SourceOrder::TWO_CHOICES.choose(&pair, None, &mut Rng::new(seed)), Some(1));
        }
        let one = sources("9/0/0/0/0");
        assert_eq!(SourceOrder::TWO_CHOICES.choose(&one, None, &mut Rng::new(1)), Some(0));
    }

    #[test]
    fn names_are_unique_and_read_back() {
        for order in SourceOrder::ALL {
            assert_eq!(order.name().parse(), Ok(*order), "two policies have one name");
        }
        let unknown = "slowest".parse::<SourceOrder>().unwrap_err().to_string();
        assert!(
            unknown.starts_with("`slowest` is no source order: use one of fastest, round-robin")
        );
    }

    #[test]
    fn random_reaches_everyone() {
        let four = sources("0/0/0/0/0 0/0/0/0/0 0/0/0/0/0 0/0/0/0/0");
        let mut rng = Rng::new(5);
        let mut counts = [0; 4];
        for _ in 0..400 {
            counts[SourceOrder::RANDOM.choose(&four, None, &mut rng).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
    }
}
