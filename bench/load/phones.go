package load

import (
	"bytes"
	"strconv"
)

// A Phone is a device of a population, by number. What it is and the token by which it is
// reached are computed from that. Phone n is for the user of the same number.
type Phone uint64

var (
	phoneModels    = numberedTo("Model %02d", 40)
	phoneLanguages = []string{"en", "zh-Hans", "de", "fr", "es", "pt", "ja", "ar"}
)

// ID returns the RegistrationID.
func (p Phone) ID() string { return string(p.appendID(nil)) }

func (p Phone) appendID(dst []byte) []byte {
	dst = append(dst, "phone-"...)
	for limit := uint64(1_000_000_000); limit > 1 && uint64(p) < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, uint64(p), 10)
}

// ChosenID returns the RegistrationID of a phone that an Installer registers.
func (p Phone) ChosenID() string { return string(p.appendChosen(nil)) }

// appendChosen appends the RegistrationID of a phone whose app chooses it, which is longer
// than any UserID.
func (p Phone) appendChosen(dst []byte) []byte {
	return append(p.appendID(dst), "-chosen-by-its-app"...)
}

// tokenAlphabet are the characters of tokens of FCM.
const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Token returns the token, which is as long as those of FCM are, and has no parts in
// common with others.
func (p Phone) Token() string { return string(p.AppendToken(nil)) }

// AppendToken appends the token.
func (p Phone) AppendToken(dst []byte) []byte {
	const colon, length = 22, 163
	const infix = ":APA91b"
	bits := uint64(0)
	for i := 0; i < length; {
		if i == colon {
			dst = append(dst, infix...)
			i += len(infix)
		}
		if i%9 == 0 || i == colon+len(infix) {
			bits = mix(uint64(p)<<8 | uint64(i))
		}
		dst = append(dst, tokenAlphabet[bits&63])
		bits >>= 6
		i++
	}
	return dst
}

// Model returns the model.
func (p Phone) Model() string { return phoneModels[mix(uint64(p))%uint64(len(phoneModels))] }

// Language returns the language of whoever holds it.
func (p Phone) Language() string {
	return phoneLanguages[mix(uint64(p)+1<<40)%uint64(len(phoneLanguages))]
}

// appendBody appends the body of a registration.
func (p Phone) appendBody(dst []byte, named bool, certificate int) []byte {
	dst = append(dst, '{')
	if named {
		dst = append(p.appendChosen(append(dst, `"RegistrationID":"`...)), `",`...)
	}
	dst = append(append(append(dst, `"Platform":"android","Model":"`...), p.Model()...), `","System":"Android","SystemVersion":"16",`...)
	dst = append(append(append(dst, `"AppVersion":"3.1","Language":"`...), p.Language()...), `","Permission":"allowed",`...)
	dst = strconv.AppendInt(append(dst, `"Tokens":[{"Certificate":`...), int64(certificate), 10)
	return append(p.AppendToken(append(dst, `,"Token":"`...)), `"}]}`...)
}

// An Installer registers phones at an app as client apps do.
type Installer struct {
	App         uint32
	AppKey      string
	Certificate int
	First       Phone    // the phones of requests are those from it on
	Secrets     [][]byte // of the first so many phones, as Register hears them
}

// Register returns a workload that registers a phone in each request.
func (in *Installer) Register() Workload {
	return Workload{
		Users: 1,
		Append: func(dst []byte, seq uint64) (string, []byte) {
			return "", in.phone(seq).appendBody(dst, true, in.Certificate)
		},
		Head: func(dst []byte, _ uint64, length int) []byte {
			dst = append(dst, "POST /v1/devices"...)
			return in.appendHead(dst, []byte(in.AppKey), length)
		},
		Answer: func(seq uint64, body []byte) {
			if seq < uint64(len(in.Secrets)) {
				text, _ := bytes.CutPrefix(member(body, deviceSecret), []byte{'"'})
				secret, _, _ := bytes.Cut(text, []byte{'"'})
				in.Secrets[seq] = bytes.Clone(secret)
			}
		},
	}
}

var deviceSecret = []byte(`"DeviceSecret"`)

// Refresh returns a workload in which the first n phones, whose secrets are there, say again
// what they said when they registered.
func (in *Installer) Refresh(n uint64) Workload {
	order := Shuffled(n, 1)
	return Workload{
		Users: 1,
		Append: func(dst []byte, seq uint64) (string, []byte) {
			return "", in.phone(order.nth(seq)).appendBody(dst, false, in.Certificate)
		},
		Head: func(dst []byte, seq uint64, length int) []byte {
			k := order.nth(seq)
			dst = in.phone(k).appendChosen(append(dst, "PUT /v1/devices/"...))
			return in.appendHead(dst, in.Secrets[k], length)
		},
	}
}

func (in *Installer) phone(seq uint64) Phone { return in.First + Phone(seq) }

func (in *Installer) appendHead(dst, secret []byte, length int) []byte {
	dst = strconv.AppendUint(append(dst, "?sdkappid="...), uint64(in.App), 10)
	dst = append(append(dst, " HTTP/1.1\r\nHost: tidings\r\nAuthorization: Bearer "...), secret...)
	dst = strconv.AppendInt(append(dst, "\r\nContent-Type: application/json\r\nContent-Length: "...), int64(length), 10)
	return append(dst, "\r\n\r\n"...)
}

// Batch returns a workload that pushes to one user a request.
func Batch(u Users, message string) Workload {
	return Workload{Users: 1, Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"From_Account":"administrator","To_Account":["`...)
		dst = appendUser(dst, u.nth(seq))
		dst = strconv.AppendUint(append(dst, `"],"MsgRandom":`...), seq&0xffff_ffff, 10)
		dst = append(dst, `,"OfflinePushInfo":`...)
		return "timpush/batch", append(append(dst, message...), '}')
	}}
}

// Explain returns a workload that asks what became of a task at one user a request.
func Explain(u Users, task string) Workload {
	return Workload{Users: 1, Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = appendUser(append(dst, `{"To_Account":"`...), u.nth(seq))
		return "tidings/explain_delivery", append(append(append(dst, `","TaskId":"`...), task...), `"}`...)
	}}
}
