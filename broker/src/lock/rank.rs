//! The places of the locks that threads share, in their order, from the outside to the inside: whoever holds one may
//! take those of deeper levels. Two of one level are never held together, and whoever holds one of the innermost
//! takes no other. Those that one connection has to itself until its upgrade is through have no place.

/// A lock's place.
pub(crate) trait LockRank {
    /// Greater ones are deeper inside.
    const LEVEL: u8;
    /// What a panic calls it.
    const NAME: &'static str;
}

/// The level of those that are held alone, or last.
const INNERMOST: u8 = 6;

macro_rules! ranks {
    ($($(#[$doc:meta])* $rank:ident: $level:expr, $name:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $rank {}

        impl LockRank for $rank {
            const LEVEL: u8 = $level;
            const NAME: &'static str = $name;
        }
    )*};
}

ranks! {
    /// Operations look at pools and at sessions, and tell these to move, while the book is held. No session's own
    /// thread takes it.
    BookRank: 0, "the book of operations";
    /// Whose a plain client's token is: its session is looked up while that is read.
    PlainTokensRank: 1, "the tokens of plain clients";
    /// The concurrent map of all sessions. The sweep wakes them while it walks over it, so nobody who holds an entry
    /// touches it.
    DirectoryRank: 2, "the directory of sessions";
    /// A session's own thread holds it all the time that it works: whatever a session needs lies deeper.
    EntryRank: 3, "a session's entry";
    /// Whoever changes the backends of a pool makes its next snapshot, and tells the backends.
    ChangingRank: 4, "the right to change a pool's backends";
    /// One backend of a pool is ejected at a time: the others' status is read meanwhile.
    EjectingRank: 5, "the right to eject a backend of a pool";

    /// What sessions say of a pool's backends: how these fare is read meanwhile.
    DocketRank: 5, "a pool's docket";

    /// What is configured.
    SnapshotRank: INNERMOST, "the broker's snapshot";
    /// A pool's settings and backends of the moment.
    PoolSnapshotRank: INNERMOST, "a pool's snapshot";
    /// What a pool's rule of balance remembers.
    TurnsRank: INNERMOST, "a pool's turns";
    /// What is known of a backend. Whoever holds it logs nothing either.
    StatusRank: INNERMOST, "a backend's status";
    /// Deaths of backends, and who was there.
    DeathsRank: INNERMOST, "a pool's deaths";
    /// Sessions that may have killed backends.
    SuspectsRank: INNERMOST, "the turns of suspects";
    /// Requests that may kill backends.
    QuarantineRank: INNERMOST, "a pool's quarantine";
    /// The addresses of a pool's sessions.
    CensusRank: INNERMOST, "a pool's census";
    /// Clients that were told to reconnect.
    InvitationsRank: INNERMOST, "a pool's invitations";
    /// Ways to a backend that have worked, or have not.
    WaysRank: INNERMOST, "the ways to a backend";
    /// Moves under way.
    TicketsRank: INNERMOST, "the tickets";
    /// Counts of sessions that have ended.
    PastRank: INNERMOST, "the counts of past sessions";
    /// Sessions that wait for memory.
    MemoryRank: INNERMOST, "the line for memory";
    /// Where clients of a pool belong.
    LearnedRank: INNERMOST, "the clients of a pool";
    /// The clients of a pool's sessions.
    StickySessionsRank: INNERMOST, "the clients of a pool's sessions";
    /// Header sets that sessions have in common.
    HeaderSetsRank: INNERMOST, "the shared header sets";
    /// The concurrent map of connections that clients have come back with.
    ArrivalsRank: INNERMOST, "the connections of clients that are back";
    /// Clients that were sent to backends. Their places are given back when it is no longer held.
    ReserveRank: INNERMOST, "the clients that were sent on";
    /// Connections that have places among those of which nothing good is known yet.
    PlacesRank: INNERMOST, "the places of connections";
    /// Dials in flight, and those that wait for their turn.
    DialsRank: INNERMOST, "the turns to dial";
    /// What connections to each backend are made with.
    BackendConfigsRank: INNERMOST, "the TLS of a pool's backends";
    /// What backends have given for resumption. TLS asks for it, whatever its connection does at the moment.
    ResumptionsRank: INNERMOST, "a pool's TLS sessions";
    /// The concurrent map of sessions by address.
    AddressesRank: INNERMOST, "the sessions by address";
}
