// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What came of the search for a request.
public enum Witness: Sendable, Hashable {
    /// There is such a request, and this is one.
    case request(Request)
    /// There is none: every request was looked at, kind by kind.
    case none
    /// The work limit was reached before the answer.
    case undecided
}

/// The requests that an analysis speaks of.
public struct RequestScope: Sendable, Hashable {
    /// The services that are asked.
    public var services: Set<Service>
    /// Whether rcp's server side is asked for.
    public var includesRemoteCopy: Bool
    /// Whether nothing but rcp's server side is asked for.
    var isRemoteCopyOnly = false
    /// The guest pools: REXEC's requests come from these accounts, too.
    public var pools: [GuestPool] = []

    /// Every request that can be made.
    public static let everything = RequestScope(services: Set(Service.allCases), includesRemoteCopy: true)

    /// The requests of some services.
    public init(services: Set<Service>, includesRemoteCopy: Bool) {
        self.services = services
        self.includesRemoteCopy = includesRemoteCopy
    }

    /// The requests that are not refused before any rule is asked.
    public init(_ settings: Settings) {
        services = Set(Service.allCases.filter { settings.serves($0) })
        includesRemoteCopy = settings.secureTCPIP.allows(.rcp)
        pools = settings.pools
    }

    /// The requests that are of both scopes.
    func intersection(_ other: Self) -> Self {
        var scope = RequestScope(
            services: services.intersection(other.services),
            includesRemoteCopy: includesRemoteCopy && other.includesRemoteCopy)
        scope.pools = pools + other.pools.filter { !pools.contains($0) }
        return scope
    }

    /// The requests that are not of another scope, in parts.
    func subtracting(_ other: Self) -> [Self] {
        var parts = [
            RequestScope(services: services.subtracting(other.services), includesRemoteCopy: includesRemoteCopy)
        ]
        if includesRemoteCopy, !other.includesRemoteCopy {
            var part = RequestScope(services: services.intersection(other.services), includesRemoteCopy: true)
            part.isRemoteCopyOnly = true
            parts.append(part)
        }
        for index in parts.indices { parts[index].pools = pools }
        return parts.filter { !$0.services.isEmpty }
    }

    /// Whether a command is among those that are asked for.
    func contains(_ command: RequestedCommand) -> Bool {
        command.isRemoteCopy ? includesRemoteCopy : !isRemoteCopyOnly
    }
}

/// Exact questions about rules, answered by their geometry and never by sampling.
///
/// The rules of a question cut the values of each clause into finitely many kinds: addresses into the ranges between the
/// ends of blocks, moments into those between the ends of hours, names into those that a rule says and all others, and
/// so on. All values of a kind are matched alike, so one of each is tried, by `Rule.matches`, which stays the one
/// definition of matching. Of kinds that differ only in how many of the avoided rules match, the least is enough: every
/// clause can only add matches, so that what a rule does not say is matched by the fewest.
///
/// What is taken for granted: uid 0 is the account `root` alone where a permit is asked about; a program is no link to
/// another; every name and argument fits into a request.
public struct PolicyAnalysis: Sendable {
    /// The most steps of one question: well under a second.
    public static let workLimit = 4_000_000

    /// The requests that are asked about.
    public internal(set) var scope: RequestScope
    /// The steps that one question may still take.
    var work = 0
    let workLimit: Int
    /// The steps that all questions took.
    public private(set) var spent = 0
    /// What `from` and `during` clauses come to, so that the rules that share one share the work.
    var addressRanges = ClauseCache<AddressBlock, AddressRanges>()
    var minuteRanges = ClauseCache<WeeklyRange, IntervalSet<Int>>()

    /// An analysis of requests.
    ///
    /// - Parameter workLimit: the most steps of one question.
    public init(scope: RequestScope, workLimit: Int = PolicyAnalysis.workLimit) {
        self.scope = scope
        self.workLimit = workLimit
    }

    /// A request that every rule of `matching` matches and none of `avoiding` does.
    ///
    /// Effects matter only to what a clause means (policy-language.md, Rules): a permit among `matching` need not be
    /// what decides.
    public static func witness(
        matching: [Rule], avoiding: [Rule], in scope: RequestScope, workLimit: Int = PolicyAnalysis.workLimit
    ) -> Witness {
        var analysis = PolicyAnalysis(scope: scope, workLimit: workLimit)
        return analysis.witness(matching: matching, avoiding: avoiding)
    }

    /// A request that every rule of `matching` matches and none of `avoiding` does.
    ///
    /// The account is an ordinary one where one will do.
    public mutating func witness(matching: [Rule], avoiding: [Rule]) -> Witness {
        work = 0
        defer { spent += work }
        do throws(WorkLimitReached) {
            guard let request = try search(matching, avoiding) else { return .none }
            return .request(request)
        } catch {
            return .undecided
        }
    }

    /// Takes steps.
    mutating func step(_ count: Int) throws(WorkLimitReached) {
        work += count
        guard work <= workLimit else { throw WorkLimitReached() }
    }
}

/// The work limit was reached.
struct WorkLimitReached: Error {}
