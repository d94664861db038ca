package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"tidings/internal/wording"
)

// maxPEMBytes is the largest file of a certificate or a key: a chain has some kilobytes.
const maxPEMBytes = 1 << 20

// A certificateError is what is wrong with one of the files of tls_cert and tls_key.
type certificateError struct {
	key  string // of the configuration
	text string
}

func (e *certificateError) Error() string { return e.key + ": " + e.text }

// LoadCertificate reads tls_cert and tls_key, which are set. The error names the file that
// is wrong, and never holds anything of the key.
func (c *Config) LoadCertificate() (*tls.Certificate, error) {
	cert, err := readPEM("tls_cert", c.TLSCert)
	if err != nil {
		return nil, err
	}
	key, err := readPEM("tls_key", c.TLSKey)
	if err != nil {
		return nil, err
	}
	pair, err := parsePair(cert, key)
	if err != nil {
		return nil, err
	}
	return pair, nil
}

// readPEM reads the file that a key of the configuration names.
func readPEM(key, name string) ([]byte, *certificateError) {
	data, err := readFile(name, maxPEMBytes)
	if err != nil {
		return nil, &certificateError{key, fmt.Sprintf("%s: %v", wording.Quote(name), err)}
	}
	return data, nil
}

// parsePair returns a certificate with its private key, of the contents of the two files.
func parsePair(cert, key []byte) (*tls.Certificate, *certificateError) {
	chain, inCert := blocks(cert)
	_, inKey := blocks(key)
	switch {
	case len(chain) == 0 && inCert != "":
		return nil, &certificateError{"tls_cert", "the file holds a private key and no certificate; are tls_cert and tls_key swapped?"}
	case len(chain) == 0:
		return nil, &certificateError{"tls_cert", "the file holds no certificate in PEM form"}
	case inKey == "":
		return nil, &certificateError{"tls_key", "the file holds no private key in PEM form"}
	case inKey == "ENCRYPTED PRIVATE KEY":
		return nil, &certificateError{"tls_key", "the private key needs a passphrase, which the server cannot ask for; write it without one"}
	}
	for _, c := range chain {
		if _, err := x509.ParseCertificate(c); err != nil {
			return nil, &certificateError{"tls_cert", fmt.Sprintf("the file holds a certificate that cannot be read: %v", err)}
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, &certificateError{"tls_key", "the private key does not fit the certificate: " + strings.TrimPrefix(err.Error(), "tls: ")}
	}
	return &pair, nil
}

// blocks returns the certificates in PEM data, and the type of its first private key.
func blocks(data []byte) (certificates [][]byte, privateKey string) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return certificates, privateKey
		}
		switch {
		case b.Type == "CERTIFICATE":
			certificates = append(certificates, b.Bytes)
		case strings.HasSuffix(b.Type, "PRIVATE KEY") && privateKey == "":
			privateKey = b.Type
		}
	}
}

// checkTLS checks tls_cert and tls_key together. Set says where they are written.
func (c *Config) checkTLS(r *reader, set map[string]spot) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		pos, missing := set["tls_cert"], "tls_key"
		if c.TLSCert == "" {
			pos, missing = set["tls_key"], "tls_cert"
		}
		r.wrong(pos, "needs %s as well", missing)
	}
	files := map[string][]byte{}
	for _, f := range []struct{ key, name string }{{"tls_cert", c.TLSCert}, {"tls_key", c.TLSKey}} {
		if f.name == "" {
			continue
		}
		data, err := readPEM(f.key, f.name)
		if err != nil {
			r.wrong(set[f.key], "%s", err.text)
			continue
		}
		files[f.key] = data
	}
	if len(files) == 2 {
		if _, err := parsePair(files["tls_cert"], files["tls_key"]); err != nil {
			r.wrong(set[err.key], "%s", err.text)
		}
	}
}
