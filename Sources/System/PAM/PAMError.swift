// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CPAM
public import Core

/// A step of PAM that did not succeed, with what the trail is told of it.
public struct PAMError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The steps of one use of PAM, in their order.
    public enum Step: String, Sendable, Hashable {
        case start
        case authenticate
        case account
        case credentials
        case session
        case closing
    }

    /// What went wrong.
    public enum Cause: Sendable, Hashable {
        /// Neither /etc/pam.d nor /usr/lib/pam.d has a file of the service's name; libpam would take `other`.
        case noSuchService
        /// The service's name is none that libpam reads as it is written.
        case serviceName
        /// A PAM code other than success.
        case code(Int32)
        /// A module asked something that is not the password.
        case foreignPrompt
        /// A module changed the user.
        case userChanged
        /// A module changed the process's user or group ids, or they cannot be read.
        case identityChanged
        /// A module left something of the process changed that cannot be put back.
        case processChanged
    }

    /// The step.
    public let step: Step
    /// The cause.
    public let cause: Cause
    /// PAM's text for the code, or ours for another cause.
    public let text: String

    /// The reason for which the request is refused.
    ///
    /// What says something of the password is `bad-credentials`, what says something of the account is
    /// `account-refused`; a stack that could not give an answer is `unavailable`.
    public var reason: Reason {
        guard case .code(let code) = cause else {
            switch cause {
            case .foreignPrompt, .userChanged: return step == .authenticate ? .badCredentials : .accountRefused
            case .noSuchService, .serviceName, .code, .identityChanged, .processChanged: return .unavailable
            }
        }
        switch code {
        case PAM_ACCT_EXPIRED, PAM_NEW_AUTHTOK_REQD, PAM_AUTHTOK_EXPIRED:
            return .accountRefused
        case PAM_AUTH_ERR, PAM_USER_UNKNOWN, PAM_MAXTRIES, PAM_PERM_DENIED, PAM_CRED_INSUFFICIENT, PAM_CONV_ERR,
            PAM_CRED_ERR, PAM_CRED_EXPIRED, PAM_CRED_UNAVAIL, PAM_SESSION_ERR, PAM_IGNORE, PAM_AUTHTOK_ERR,
            PAM_AUTHTOK_RECOVERY_ERR:
            return step == .authenticate ? .badCredentials : .accountRefused
        default:
            return .unavailable
        }
    }

    /// `STEP: TEXT`.
    public var description: String { "pam \(step.rawValue): \(text)" }

    init(_ step: Step, _ cause: Cause, text: String) {
        self.step = step
        self.cause = cause
        self.text = text
    }
}
