// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A sandbox before its system calls are worked out: what `extends` starts from.
public struct SandboxDefinition: Sendable, Hashable {
    /// Everything but the system calls, which are left empty here.
    public var base: Sandbox
    /// What `syscalls allow` names: groups with their `@`, and single calls.
    public var allowed: [String]
    /// What `syscalls deny` names.
    public var denied: [String]

    /// A definition.
    public init(base: Sandbox, allowed: [String], denied: [String]) {
        self.base = base
        self.allowed = allowed
        self.denied = denied
    }

    /// The sandbox under a name, with the names of the system calls that its filter allows.
    ///
    /// From what is allowed go what is denied, what no sandbox allows, and what the network item takes away. What a
    /// launch itself needs is always there. Names that an architecture lacks are dropped when the filter is compiled.
    public func sandbox(named name: String) -> Sandbox {
        var sandbox = base
        sandbox.name = name
        guard sandbox.isConfined else {
            sandbox.systemCalls = []
            return sandbox
        }
        var calls = Self.expanded(allowed)
        calls.subtract(Self.expanded(denied))
        switch sandbox.network {
        case .off:
            calls.subtract(Self.socketMaking)
            calls.subtract(Self.socketServing)
        case .tcpConnect:
            calls.subtract(Self.socketServing)
        case .on:
            break
        }
        calls.subtract(SystemCallGroups.never)
        calls.formUnion(SystemCallGroups.launch)
        sandbox.systemCalls = calls.sorted()
        return sandbox
    }

    /// The calls of groups and single names.
    static func expanded(_ names: [String]) -> Set<String> {
        var calls = Set<String>()
        for name in names {
            if let members = SystemCallGroups.members(of: name) {
                calls.formUnion(members)
            } else {
                calls.insert(name)
            }
        }
        return calls
    }

    /// socketcall(2) is the multiplexer of old architectures: it would give all of these back.
    private static let socketMaking: Set<String> = ["socket", "connect", "socketcall"]
    private static let socketServing: Set<String> = ["bind", "listen", "accept", "accept4"]
}

// MARK: - The built-in ones

extension SandboxDefinition {
    /// The names of the built-in sandboxes, the tightest first.
    public static let builtInNames = ["strict", "standard", "home", "unconfined"]

    /// What a permit without `sandbox` has, and what a sandbox without `extends` starts from.
    public static let defaultName = "strict"

    /// A built-in sandbox.
    public static func builtIn(_ name: String) -> SandboxDefinition? {
        switch name {
        case "strict": strict
        case "standard": standard
        case "home": home
        case "unconfined": unconfined
        default: nil
        }
    }

    /// Read and execute system paths; no write but /dev/null, no network, no change of modes, owners, times or
    /// attributes, small limits.
    static let strict: SandboxDefinition = {
        var base = Sandbox(name: "strict")
        base.read = systemRead
        base.write = [.absolute("/dev/null")]
        base.execute = systemExecute
        base.limits.cpu = 60
        base.limits.memory = 1 << 30
        base.limits.processes = 128
        base.limits.files = 256
        base.limits.fileSize = 64 << 20
        base.timeout = 3_600_000
        return SandboxDefinition(
            base: base, allowed: ["@system-service", "@sandbox", "@pkey"], denied: SystemCallGroups.attributeChanges)
    }()

    /// Also reads the target's home, writes a private /tmp, and may change modes and times of what it can write.
    static let standard: SandboxDefinition = {
        var definition = strict
        definition.base.name = "standard"
        definition.base.read.append(.home(""))
        definition.base.write.append(.absolute("/tmp"))
        definition.base.limits.cpu = 3_600
        definition.base.limits.memory = 4 << 30
        definition.base.limits.processes = 512
        definition.base.limits.files = 1_024
        definition.base.limits.fileSize = 4 << 30
        definition.base.timeout = nil
        definition.denied = []
        return definition
    }()

    /// Also writes the home.
    static let home: SandboxDefinition = {
        var definition = standard
        definition.base.name = "home"
        definition.base.write.append(.home(""))
        return definition
    }()

    /// No Landlock, and a filter that only removes what no command needs.
    static let unconfined: SandboxDefinition = {
        var base = Sandbox(name: "unconfined")
        base.isConfined = false
        base.network = .on
        return SandboxDefinition(base: base, allowed: [], denied: [])
    }()

    /// What programs of the system read: themselves, their libraries, their configuration, the plain devices, /proc.
    private static let systemRead: [Sandbox.Path] = [
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/sys/devices/system/cpu",
        "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
    ].map { .absolute($0) }

    private static let systemExecute: [Sandbox.Path] = [
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
    ].map { .absolute($0) }
}

// MARK: - What a sandbox opens

extension Sandbox {
    /// Whether the target's home can be written, as far as the text tells: what runs there could write `.rhosts`.
    public var writesHome: Bool {
        !isConfined
            || write.contains { path in
                switch path {
                case .home: true
                case .absolute: false
                }
            }
    }

    /// The path among some that opens a directory or lies in it, if one does. The private /tmp is no directory of the
    /// host's.
    public static func path(among paths: [Path], opening directory: ByteText) -> Path? {
        paths.first { path in
            switch path {
            case .home: false
            case .absolute(let absolute):
                absolute != privateTemporary
                    && (AbsolutePath.isBeneath(directory, absolute) || AbsolutePath.isBeneath(absolute, directory))
            }
        }
    }

    /// /tmp, which is a private one wherever a sandbox opens it.
    public static let privateTemporary: ByteText = "/tmp"
}

extension Sandbox.Path {
    /// The path as a policy writes it.
    public var text: String {
        switch self {
        case .absolute(let path): path.text ?? path.printable
        case .home(let rest): "~" + (rest.text ?? rest.printable)
        }
    }
}
