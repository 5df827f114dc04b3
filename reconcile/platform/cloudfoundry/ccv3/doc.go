// Package ccv3 speaks HTTP to a Cloud Controller (V3 API) and to the UAA in front of it.
//
// It exists because talking well to a busy controller is most of what can go wrong when a tool keeps a
// foundation in shape day and night:
//
//   - Tokens. The UAA is found through the controller's root document. A token comes from a user name and
//     password, from client credentials, or from the session that `cf login` left behind (which is read and
//     never written). It is renewed before it expires, and once more when the controller answers 401.
//     However many requests need a new token, one request fetches it.
//   - Rate limits. 429 is waited out as Retry-After or X-RateLimit-Reset say, up to [Budget.MaxWait]; a
//     share of the allowance can be kept free for people.
//   - Trouble. 500, 502, 503, 504 and cut connections are tried again a few times with jittered, growing
//     pauses, if repeating is harmless. A POST is not repeated: the controller has been seen to
//     answer 503 after it had stored the change. [Error.MayHaveHappened] tells the caller to look first.
//   - Cost. [List] reads pages of 5,000, the first one alone and the others at once; [Client.Requests] counts.
//   - Jobs. [Client.Job] waits for what the controller does in the background and returns all of its errors.
//   - Size. [Client.Upload] streams, so an upload of any size needs little memory.
//
// Errors are *[Error] and hold every detail that the controller gave. No token, password or request body
// ever gets into an error or a log line. The package knows nothing of manifests and keeps no state but the token.
package ccv3
