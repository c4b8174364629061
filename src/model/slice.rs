//! Slices: the filter combinations a trend is asked for.

use std::fmt;
use std::str::FromStr;

/// Orders values as the lake's columns order their texts, since rows are sorted by them.
macro_rules! in_the_order_of_texts {
    ($name:ident) => {
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

/// Declares an enum of vendor constants with its wire texts, so that the texts stand in one place.
macro_rules! vendor_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        in_the_order_of_texts!($name);

        impl $name {
            /// Every value, in the order of the vendor's page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text of the request's parameter and of the lake's column.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            /// Reads the vendor's text, in any case.
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| format!("`{v}`")).collect();
                    format!("expected one of {}", known.join(", "))
                })
            }
        }
    };
}

vendor_enum! {
    /// Which conversations count, by whether the user said anything.
    ConversationType {
        /// Every conversation; the API's default.
        All = "All",
        /// Conversations with at least one message of the user.
        Interactive = "Interactive",
        /// Conversations in which the user said nothing.
        NonInteractive = "Non Interactive",
    }
}

vendor_enum! {
    /// Which conversations count, by whether they are over.
    ConversationStatus {
        /// Every conversation; the API's default.
        All = "All",
        /// Conversations still going on.
        Active = "Active",
        /// Conversations closed by silence or by the user.
        Closed = "Closed",
    }
}

/// The channel asked for: all of them, or one by the vendor's name (`rtm`, `msteams`, `ivrVoice`, ...).
///
/// The vendor publishes no list of names, so any printable text of 1 to 64 characters is taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Every channel together; the request then carries no `channels` parameter.
    All,
    /// One channel.
    Named(String),
}

in_the_order_of_texts!(Channel);

/// A text that is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a channel is 1 to 64 printable characters without a comma")]
pub struct InvalidChannel;

impl Channel {
    /// The text of the lake's column: the name, or `All`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "All",
            Self::Named(name) => name,
        }
    }
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        // A comma would be a list to some servers: one call asks for one channel.
        let printable = |c: char| c == ' ' || c.is_alphanumeric() || (c.is_ascii_graphic() && c != ',');
        let count = text.chars().count();
        if count == 0 || count > 64 || !text.chars().all(printable) || text.trim() != text {
            return Err(InvalidChannel);
        }
        Ok(Self::Named(text.to_owned()))
    }
}

/// One filter combination. Rows of a partition are sorted by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slice {
    /// Filter on the conversation's type.
    pub conversation_type: ConversationType,
    /// Filter on the conversation's status.
    pub conversation_status: ConversationStatus,
    /// Filter on the channel.
    pub channel: Channel,
}

impl Slice {
    /// No filter at all; what the API answers by default.
    pub const ALL: Self = Self {
        conversation_type: ConversationType::All,
        conversation_status: ConversationStatus::All,
        channel: Channel::All,
    };

    /// What the vendor's dashboards show by default: interactive conversations that are closed.
    pub const DASHBOARD: Self = Self {
        conversation_type: ConversationType::Interactive,
        conversation_status: ConversationStatus::Closed,
        channel: Channel::All,
    };
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {} / {}", self.conversation_type, self.conversation_status, self.channel.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_texts_round_trip() {
        for v in ConversationType::ALL {
            assert_eq!(v.as_str().parse(), Ok(*v));
        }
        for v in ConversationStatus::ALL {
            assert_eq!(v.as_str().to_lowercase().parse(), Ok(*v));
        }
        assert_eq!(
            "interactiv".parse::<ConversationType>().unwrap_err(),
            "expected one of `All`, `Interactive`, `Non Interactive`"
        );
    }

    #[test]
    fn channels() {
        assert_eq!("ALL".parse(), Ok(Channel::All));
        assert_eq!("ivrVoice".parse(), Ok(Channel::Named("ivrVoice".into())));
        for bad in ["", " rtm", "a,b", "a\nb", "a\u{202e}", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Channel>(), Err(InvalidChannel), "{bad:?}");
        }
    }
}
