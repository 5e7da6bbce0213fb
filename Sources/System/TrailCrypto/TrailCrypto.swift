// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Crypto

/// SHA-256, for the chain and for what names a key.
///
/// - Returns: 32 bytes.
@Sendable public func sha256(_ bytes: [UInt8]) -> [UInt8] {
    Array(SHA256.hash(data: bytes))
}

/// Whether a signature of Ed25519 (RFC 8032) fits a text and a public key, in the order of `SignatureCheck`; false, too, where
/// one of them has another length than it has to have.
@Sendable public func isEd25519Signature(_ signature: [UInt8], _ text: [UInt8], _ key: [UInt8]) -> Bool {
    guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: key) else { return false }
    return key.isValidSignature(signature, for: text)
}
