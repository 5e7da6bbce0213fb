// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Trust

/// What every trust file of a host says, and whether the gateway would read it.
struct TrustReport {
    /// A trust file.
    struct File {
        /// Its path.
        var path: String
        /// Whose it is; nil for a file of the host's.
        var account: AccountEntry?
        /// What its lines mean; nil for a file that the gateway never reads.
        var place: TrustFilePlace?
        /// How it was judged.
        var state: State
        /// Its lines.
        var lines: [TrustFileLint.Line] = []
    }

    /// How a file was judged.
    enum State: Hashable {
        /// The gateway takes it.
        case accepted
        /// There is none where one is needed, or wanted.
        case absent
        /// The gateway takes nothing of it, for this reason.
        case rejected(String)
        /// The gateway never reads it, and another daemon may; what to do.
        case dangerous(String)
        /// It could not be judged; why.
        case notChecked(String)

        /// The word for it.
        var name: String {
            switch self {
            case .accepted: "accepted"
            case .absent: "absent"
            case .rejected: "rejected"
            case .dangerous: "dangerous"
            case .notChecked: "not checked"
            }
        }

        /// Why, where there is something to say.
        var reason: String? {
            switch self {
            case .accepted, .absent: nil
            case .rejected(let text), .dangerous(let text), .notChecked(let text): text
            }
        }

        /// Whether nothing has to be done.
        var isAcceptable: Bool { self == .accepted || self == .absent }
    }

    let policy: HostPolicy
    /// The files that were found, and those absent ones that were asked for.
    let files: [File]
    /// How many accounts were looked at.
    let accountCount: Int

    /// Judges the trust files of a host and of its accounts.
    ///
    /// - Parameter names: the accounts that were asked for, of which an absent file is told, too; nil for all.
    init(host: LocalHost, policy: HostPolicy, names: [String]?) {
        self.policy = policy
        accountCount = host.accounts.count
        let judge = Judge(host: host, policy: policy)
        var files = [judge.hostsEquiv(), judge.shostsEquiv(), judge.central()].compactMap(\.self)
        for account in host.accounts {
            files += judge.own(account).filter { names != nil && $0.place != nil || $0.state != .absent }
        }
        if let hosts = judge.hostsFile() { files.append(hosts) }
        self.files = files
    }

    /// Whether every file is acceptable.
    var isAcceptable: Bool { files.allSatisfy(\.state.isAcceptable) }

    /// What the policy does with trust files, in a sentence.
    var readBy: String {
        if let problem = policy.problem { return "none is read: \(problem)" }
        let settings = policy.settings
        let names: String =
            switch settings.rsh.names {
            case .refuse: "refuse"
            case .hostsFile: "hosts-file"
            case .dns: "dns"
            }
        guard settings.serves(.rsh) else {
            let why = settings.rsh.isEnabled ? "securetcpip is on" : "service rsh is disabled"
            return "none is read: \(why)"
        }
        switch settings.rsh.trust {
        case .rule: return "none is read: trust rule, the permit itself is the trust"
        case .file: return "the central file alone is read; names \(names)"
        case .rhosts where settings.readsHostTrust: return "hosts.equiv and .rhosts are read; names \(names)"
        case .rhosts: return "none is read: securetcpip is on without 'except rhosts'"
        }
    }
}

/// Opens and judges files as the gateway does.
private struct Judge {
    let host: LocalHost
    let policy: HostPolicy

    private var names: ServiceSettings.Names { policy.settings.rsh.names }

    func hostsEquiv() -> TrustReport.File? {
        let path = TrustFileOpening.hostsEquiv.printable
        let file = judged(TrustFileOpening.host(ByteText(host.path(path))), path, nil, .hostsEquiv)
        return file.state == .absent ? nil : file
    }

    /// The central file, where the policy reads one: without it nobody is trusted.
    func central() -> TrustReport.File? {
        guard let path = policy.centralFile else { return nil }
        var file = judged(TrustFileOpening.host(path), path.printable, nil, .central)
        if file.state == .absent {
            file.state = .rejected("the policy's 'trust file' is not there, so nobody is trusted")
        }
        return file
    }

    /// The names of `names hosts-file`, where trust files are read: who could write them could say who is trusted.
    func hostsFile() -> TrustReport.File? {
        guard names == .hostsFile, policy.settings.readsHostTrust || policy.centralFile != nil else { return nil }
        let path = "/etc/hosts"
        var file = TrustReport.File(path: path, state: .accepted)
        switch TrustFileOpening.host(ByteText(host.path(path)), limit: HostsFile.sizeLimit) {
        case .absent: file.state = .rejected("not there")
        case .rejected(let reason): file.state = .rejected(Self.without(path, reason))
        case .leased(let reason): file.state = .notChecked("leased: \(Self.without(path, reason))")
        case .bytes: break
        }
        return file
    }

    /// OpenSSH's, beside which it reads hosts.equiv (sshd(8), /etc/ssh/shosts.equiv).
    func shostsEquiv() -> TrustReport.File? {
        let path = "/etc/ssh/shosts.equiv"
        guard host.exists(path) else { return nil }
        return TrustReport.File(path: path, state: .dangerous(Self.sshd))
    }

    private static let sshd = "never read by Portcullis, but by sshd where HostbasedAuthentication is on: remove it"

    /// The files in an account's home.
    func own(_ account: AccountEntry) -> [TrustReport.File] {
        let home = account.home.printable
        let found = host.look(for: [".rhosts", ".shosts"], of: account)
        guard let rhosts = found.first, let shosts = found.last else { return [] }
        var files: [TrustReport.File] = []
        let path = "\(home)/.rhosts"
        let place = TrustFilePlace.rhosts(of: account.name)
        switch rhosts {
        case .absent:
            files.append(TrustReport.File(path: path, account: account, place: place, state: .absent))
        case .unknown(let text):
            files.append(TrustReport.File(path: path, account: account, place: place, state: .notChecked(text)))
        case .present where !Linux.Process.isRoot && account.uid != Linux.Process.effectiveUserID:
            let text = "only root and \(account.name.printable) can read it as the gateway does"
            files.append(TrustReport.File(path: path, account: account, place: place, state: .notChecked(text)))
        case .present:
            let opened = TrustFileOpening.personal(
                named: ".rhosts", home: ByteText(Array(host.root.utf8) + account.home.bytes),
                credentials: LocalHost.credentials(of: account))
            files.append(judged(opened, path, account, place))
        }
        switch shosts {
        case .absent: break
        case .unknown(let text):
            files.append(
                TrustReport.File(path: "\(home)/.shosts", account: account, state: .notChecked(text)))
        case .present:
            files.append(
                TrustReport.File(path: "\(home)/.shosts", account: account, state: .dangerous(Self.sshd)))
        }
        return files
    }

    /// A reason without the name that stands before it.
    private static func without(_ path: String, _ reason: String) -> String {
        let name = (path.split(separator: "/").last.map { String($0) } ?? path) + ": "
        return reason.hasPrefix(name) ? String(reason.dropFirst(name.count)) : reason
    }

    private func judged(
        _ found: TrustFileOpening.Found, _ path: String, _ account: AccountEntry?, _ place: TrustFilePlace
    ) -> TrustReport.File {
        var file = TrustReport.File(path: path, account: account, place: place, state: .accepted)
        switch found {
        case .absent: file.state = .absent
        case .rejected(let reason): file.state = .rejected(Self.without(path, reason))
        case .leased(let reason): file.state = .notChecked("leased: \(Self.without(path, reason))")
        case .bytes(let bytes):
            let lint = TrustFileLint(bytes, grammar: place == .central ? .central : .hostsEquiv, names: names)
            file.lines = lint.lines
            if let rejection = lint.rejection { file.state = .rejected(rejection.description) }
        }
        return file
    }
}

// MARK: - What is shown

extension TrustReport {
    /// The report for people.
    func lines(_ output: Output) -> [String] {
        var lines = ["policy  \(ByteText(policy.path).printable): \(readBy)"]
        for file in files {
            let owner = file.account.map { " (\($0.name.printable))" } ?? ""
            let state = output.coloured(file.state.name, file.state.isAcceptable ? .good : .bad)
            lines.append("\(file.path)\(owner): \(state)" + (file.state.reason.map { ": \($0)" } ?? ""))
            for line in file.lines { lines += Self.lines(line, file, output) }
            if case .rejected = file.state {
                let isOfNames = file.path == "/etc/hosts"
                lines.append(
                    "        "
                        + (isOfNames ? "no name in a trust file is resolved" : "it grants nothing and vetoes nothing"))
            }
        }
        let bad = files.filter { !$0.state.isAcceptable }.count
        lines.append(
            "\(Shown.count(accountCount, "account")), \(Shown.count(files.count, "file")): "
                + (bad == 0 ? "all acceptable" : "\(Shown.number(bad)) to mend"))
        if files.contains(where: { $0.state == .accepted }) {
            lines.append("A line says who is trusted; the policy must permit the request besides.")
        }
        return lines
    }

    private static func lines(_ line: TrustFileLint.Line, _ file: File, _ output: Output) -> [String] {
        let number = String(repeating: " ", count: max(0, 6 - String(line.number).count)) + "\(line.number)"
        let isVoid = file.state != .accepted
        switch line.finding {
        case .rejects(let error):
            return ["\(number)  " + output.coloured("\(error.reason): \(line.text.printable)", .bad)]
        case .shadowed(let entry, let by):
            let text = "\(meaning(entry, file)), but line \(by) decides before it"
            return ["\(number)  " + output.coloured(text, .doubtful)]
        case .entry(let entry):
            let text = (isVoid ? "would say: " : "") + meaning(entry, file)
            return ["\(number)  " + (isVoid ? output.coloured(text, .faint) : text)]
                + doubts(entry, file).map { "        " + output.coloured("warning: \($0)", .doubtful) }
        }
    }

    private static func meaning(_ entry: TrustEntry, _ file: File) -> String {
        entry.meaning(in: file.place ?? .hostsEquiv)
    }

    /// What a person should know of a line that is accepted.
    static func doubts(_ entry: TrustEntry, _ file: File) -> [String] {
        var doubts: [String] = []
        if case .named(let name) = entry.user, UserName(bytes: name.bytes) == nil {
            doubts.append("no request can carry this user name")
        }
        guard !entry.denies else { return doubts }
        if file.place == .hostsEquiv, case .named = entry.user {
            doubts.append("only the policy limits which accounts that is")
        }
        if file.account?.uid == 0 { doubts.append("uid 0 is trusted only under a permit that names root") }
        if case .name = entry.host { doubts.append("who answers for that name decides") }
        return doubts
    }

    /// The report for programs.
    var json: JSON {
        .object([
            ("policy", .string(policy.path)), ("policyProblem", .optional(policy.problem)),
            ("reads", .string(readBy)), ("acceptable", .bool(isAcceptable)),
            ("accounts", .integer(accountCount)), ("files", .array(files.map(Self.json))),
        ])
    }

    private static func json(_ file: File) -> JSON {
        .object([
            ("path", .string(file.path)), ("account", file.account.map { .bytes($0.name) } ?? .null),
            ("state", .string(file.state.name)), ("reason", .optional(file.state.reason)),
            ("lines", .array(file.lines.map { json($0, file) })),
        ])
    }

    private static func json(_ line: TrustFileLint.Line, _ file: File) -> JSON {
        let effect: String
        var meaning: String?
        var problem: String?
        var doubts: [String] = []
        var shadowedBy: Int?
        switch line.finding {
        case .rejects(let error):
            effect = "rejected"
            problem = error.reason
        case .shadowed(let entry, let by):
            effect = "shadowed"
            meaning = Self.meaning(entry, file)
            shadowedBy = by
        case .entry(let entry):
            // A file that is rejected grants nothing, whatever this line says.
            effect = file.state != .accepted ? "void" : entry.denies ? "denies" : "trusts"
            meaning = Self.meaning(entry, file)
            doubts = Self.doubts(entry, file)
        }
        return .object([
            ("line", .integer(line.number)), ("text", .bytes(line.text)), ("effect", .string(effect)),
            ("meaning", .optional(meaning)), ("problem", .optional(problem)),
            ("shadowedBy", shadowedBy.map { .integer($0) } ?? .null),
            ("warnings", .array(doubts.map { .string($0) })),
        ])
    }
}
