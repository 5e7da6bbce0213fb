// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A setting that two policies do not have alike, in the words of a policy.
public struct SettingDifference: Sendable, Hashable {
    /// What is set: `securetcpip`, or `service rsh: trust`.
    public var name: String
    /// What the old policy says, its defaults written out.
    public var old: String
    /// What the new one says.
    public var new: String

    /// The settings that differ, in the order in which a policy has them.
    ///
    /// What a service is told that neither policy serves makes no difference and is left out.
    public static func differences(old: Settings, new: Settings) -> [SettingDifference] {
        var rows: [(name: String, old: String, new: String)] = [
            ("securetcpip", old.secureTCPIP.text, new.secureTCPIP.text)
        ]
        for service in Service.allCases {
            let name = "service \(service.name)"
            rows.append((name, old.serves(service) ? "on" : "off", new.serves(service) ? "on" : "off"))
            guard old.serves(service) || new.serves(service) else { continue }
            for (one, other) in zip(old[service].items, new[service].items) {
                rows.append(("\(name): \(one.name)", one.text, other.text))
            }
        }
        for (one, other) in zip(old.commonItems, new.commonItems) { rows.append((one.name, one.text, other.text)) }
        let pools = Set((old.pools + new.pools).map(\.name)).sorted()
        rows += pools.map { ("pool \($0)", old.text(ofPool: $0), new.text(ofPool: $0)) }
        return rows.filter { $0.old != $0.new }.map { SettingDifference(name: $0.name, old: $0.old, new: $0.new) }
    }
}

/// A setting and its value as a policy would write it.
private typealias Item = (name: String, text: String)

extension Settings {
    fileprivate func text(ofPool name: String) -> String {
        guard let pool = pools.first(where: { $0.name == name }) else { return "none" }
        return "{ " + pool.accounts.map(\.description).joined(separator: ", ") + " }"
    }

    fileprivate var commonItems: [Item] {
        [
            ("refusal: delay", duration(refusal.delay)), ("refusal: rexec", Parser.quoted(refusal.rexecText)),
            ("refusal: rsh", Parser.quoted(refusal.rshText)), ("audit: kernel", audit.kernelText),
            ("audit: durability", audit.durability == .sync ? "sync" : "batch"),
            ("audit: on-failure", audit.onFailure == .refuse ? "refuse" : "continue"),
            ("audit: checkpoint", duration(audit.checkpoint)),
            ("audit: segment-size", LearnedText.size(audit.segmentSize)),
            ("search-path", searchPath.map { $0.text ?? $0.printable }.joined(separator: ":")),
        ]
    }
}

extension AuditSettings {
    fileprivate var kernelText: String {
        switch kernel {
        case .auto: "auto"
        case .require: "require"
        case .off: "off"
        }
    }
}

extension SecureTCPIP {
    fileprivate var text: String {
        guard isOn else { return "off" }
        let given = Exception.allCases.filter { exceptions.contains($0) }.map(\.name)
        return given.isEmpty ? "on" : "on except \(given.joined(separator: ", "))"
    }
}

extension ServiceSettings {
    fileprivate var items: [Item] {
        let common: [Item] = [
            ("listen", listeners.map(\.description).joined(separator: ", ")),
            ("stderr-channel", offersStderrChannel ? "on" : "off"),
            ("handshake-timeout", duration(handshakeTimeout)),
            ("authentication-timeout", duration(authenticationTimeout)), ("command-length", String(commandLength)),
            ("sessions", "\(sessions) per-source \(sessionsPerSource)"),
        ]
        switch service {
        case .rexec:
            return common + [("authenticate", authenticationText)]
        case .rsh:
            return common + [
                ("trust", trustText), ("names", namesText),
                ("source-port", requiresReservedSourcePort ? "reserved" : "any"), ("account", accountText),
                ("password-field", takesPasswordField ? "on" : "off"),
                ("authenticate", takesPasswordField ? authenticationText : "none"),
            ]
        }
    }

    private var authenticationText: String {
        switch authentication {
        case .pam(let name): "pam \(Parser.quoted(name))"
        case .file(let path): "file \(Parser.quoted(path.text ?? path.printable))"
        }
    }

    private var trustText: String {
        switch trust {
        case .rhosts: "rhosts"
        case .file(let path): "file \(Parser.quoted(path.text ?? path.printable))"
        case .rule: "rule"
        }
    }

    private var namesText: String {
        switch names {
        case .refuse: "refuse"
        case .hostsFile: "hosts-file"
        case .dns: "dns"
        }
    }

    private var accountText: String {
        switch accountManagement {
        case .pam(let name): "pam \(Parser.quoted(name))"
        case .none: "none"
        }
    }
}

/// Milliseconds in the largest unit that says them exactly.
private func duration(_ milliseconds: Int) -> String {
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
    where milliseconds.isMultiple(of: length) {
        return "\(milliseconds / length)\(unit)"
    }
    return "\(milliseconds)ms"
}
