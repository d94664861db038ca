// Package client calls the HTTP API of a Tidings server: it signs requests,
// repeats the ones that may be repeated, and turns answers into Go values and
// typed errors.
//
//	c, err := client.New("https://push.example.com", 1400000001, secretKey)
//	...
//	err = c.RemoveAttrs(ctx, []client.AttrRemoval{{Account: "mary", Names: []string{"city"}}})
//	id, err := c.Push(ctx, client.Push{
//		Where:        `plan == "gold"`,
//		Notification: &client.Notification{Title: "Gold week", Desc: "Two for one until Sunday."},
//		Key:          "gold-week-2026", // pushed again with it, it is the same push
//	})
//
// The attribute, tag, audience, device, account, push and task commands have methods;
// [Client.Call] calls every other command. [Device] is the other side: an installation
// that registers. A Client is safe for concurrent use and is meant to be
// kept: it holds a pool of connections, and a ticket (UserSig) that it renews in time.
//
// # Errors
//
// A refused command is an [*Error] with the code of the API. Codes are errors
// too, so that
//
//	errors.Is(err, client.ErrRateLimited)
//
// works on everything the package returns. An HTTP status other than 200 is a
// [*StatusError]: a proxy answered, not the API. All other errors are failures of the
// network, the end of the context, and wrong arguments. No error shows a key or a
// ticket.
//
// Commands for several accounts process them one by one. If some accounts fail, the
// others are processed all the same, and the error is an [*AccountErrors] that lists
// the failed ones. Methods return it together with the results for the others:
//
//	users, err := c.Attrs(ctx, accounts)
//	if failed, ok := errors.AsType[*client.AccountErrors](err); ok {
//		log.Print(failed.List) // users holds the rest
//	} else if err != nil {
//		return err
//	}
//
// # More than 100 users
//
// The API takes at most [MaxUsers] users in one request. Methods that take lists send a
// longer one in several requests, one after the other; an empty list sends nothing.
// Each request stands alone: if the third is refused, the first two stay done, and the
// error is a [*ChunkError].
//
// # Repeating
//
// Calls are repeated after connection errors, HTTP 5xx and the codes that the
// API documents as worth repeating, with exponential back-off and jitter, up
// to [Retry.Attempts] times and never past the deadline of the context. When the
// server says that calls come too often, all calls of the Client that the limit
// concerns wait, and not only the refused one. A push has a key ([Push.Key]), by which the
// server knows that it is the same one again. Another command that must not be processed
// twice, and one that this package does not know, is repeated only if the server certainly
// has not processed it: so is a push that [Client.Call] sends.
package client
