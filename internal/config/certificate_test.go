package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

// A pair is the name of a file that holds a certificate and its key.
var pairs = [3]string{makePair("a"), makePair("b"), makePair("c")}

var (
	pairDir string
	pairKey *ecdsa.PrivateKey // of all, so that each is right for each
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(pairDir)
	os.Exit(code)
}

func makePair(name string) string {
	var err error
	if pairKey == nil {
		if pairDir, err = os.MkdirTemp("", "tidings-config"); err != nil {
			panic(err)
		}
		if pairKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			panic(err)
		}
	}
	cert, key := pemOf(pairKey)
	file := filepath.Join(pairDir, name+".pem")
	if err := os.WriteFile(file, []byte(cert+key), 0o600); err != nil {
		panic(err)
	}
	return file
}

// pemOf returns a certificate for a key, and the key.
func pemOf(key *ecdsa.PrivateKey) (certPEM, keyPEM string) {
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return block("CERTIFICATE", cert), block("PRIVATE KEY", der)
}

func block(name string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der}))
}

// TestCertificates: whatever keeps the two files from being used is a mistake of the
// configuration, and says which file is wrong.
func TestCertificates(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pemOf(pairKey)
	_, otherKey := pemOf(other)
	for _, test := range []struct{ name, cert, key, want string }{
		{"good", cert, key, ""},
		{"good, with more in the files", "a comment\n" + cert + cert, cert + key, ""},
		{"of two pairs", cert, otherKey, "--tls-key: the private key does not fit the certificate: private key does not match public key"},
		{"swapped", key, cert, "--tls-cert: the file holds a private key and no certificate; are tls_cert and tls_key swapped?"},
		{"no certificate", "hello", key, "--tls-cert: the file holds no certificate in PEM form"},
		{"empty", "", "", "--tls-cert: the file holds no certificate in PEM form"},
		{"no key", cert, cert, "--tls-key: the file holds no private key in PEM form"},
		{"a certificate of nothing", block("CERTIFICATE", []byte("x")), key, "--tls-cert: the file holds a certificate that cannot be read: x509: malformed certificate"},
		{"a key of nothing", cert, block("PRIVATE KEY", []byte("x")), "--tls-key: the private key does not fit the certificate: failed to parse private key"},
		{"a passphrase", cert, block("ENCRYPTED PRIVATE KEY", []byte("x")), "--tls-key: the private key needs a passphrase, which the server cannot ask for; write it without one"},
	} {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		for name, text := range map[string]string{certFile: test.cert, keyFile: test.key} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := load(t, "", nil, "--tls-cert="+certFile, "--tls-key="+keyFile)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestSecretsInFile: the configuration knows whether its file holds a secret.
func TestSecretsInFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a-long-random-text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"data: x\n": false,
		"apps:\n- sdkappid: 1\n  secret_key_file: " + secret + "\n":                   false,
		"apps:\n- sdkappid: 1\n  secret_key: a-long-random-text\n":                    true,
		"apps:\n- sdkappid: 1\n  retiring_keys: [{secret_key: a-long-random-text}]\n": true,
	} {
		if c := must(t, text, nil); c.SecretsInFile != want || c.File == "" {
			t.Errorf("%s: file %q, secrets %v", text, c.File, c.SecretsInFile)
		}
	}
}
