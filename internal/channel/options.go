package channel

import (
	"fmt"
	"net/url"
	"unicode"
	"unicode/utf8"
)

// The actions of a Click.
const (
	ClickApp  = "app" // as is the empty one
	ClickURL  = "url"
	ClickPage = "page"
)

const maxOptionBytes = 1024

// Check returns why nobody can choose such options, with the name of the one that is
// wrong. What a provider makes of them is up to its Driver.
func (o Options) Check() error {
	for _, text := range []struct{ name, value string }{
		{"package", o.Package}, {"channel_id", o.ChannelID}, {"click.target", o.Click.Target},
	} {
		if err := checkOption(text.value); err != nil {
			return fmt.Errorf("%s %w", text.name, err)
		}
	}
	if o.Environment != "" && o.Environment != Production && o.Environment != Sandbox {
		return fmt.Errorf("environment %.50q is neither %s nor %s", o.Environment, Production, Sandbox)
	}
	target := o.Click.Target
	switch o.Click.Action {
	case "", ClickApp:
		if target != "" {
			return fmt.Errorf("click.target is for the actions %s and %s", ClickURL, ClickPage)
		}
	case ClickURL:
		if u, err := url.Parse(target); err != nil || u.Scheme == "" {
			return fmt.Errorf("click.target %.100q is not a URL such as https://shop.example.com/sale", target)
		}
	case ClickPage:
		if target == "" {
			return fmt.Errorf("click.target is missing: the name of the page")
		}
	default:
		return fmt.Errorf("click.action %.50q is none of %s, %s, %s", o.Click.Action, ClickApp, ClickURL, ClickPage)
	}
	return nil
}

func checkOption(text string) error {
	switch {
	case len(text) > maxOptionBytes:
		return fmt.Errorf("has %d bytes, it may have %d", len(text), maxOptionBytes)
	case !utf8.ValidString(text):
		return fmt.Errorf("is not UTF-8")
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("has a character that cannot be printed")
		}
	}
	return nil
}
