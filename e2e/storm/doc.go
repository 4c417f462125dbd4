// Package storm proves the two numbers of the session design over a simulated population: false sign-outs and uncaught
// thefts. The server and its rooms are the real ones, on a real database file or real Redis servers, behind real HTTP on
// the loopback interface. Only three things are made up: the clock, which leaps from one event to the next, so that weeks
// pass in minutes; the network, which is a header that tells where a device is; and the customers.
//
// # The honest clients
//
// A client is one customer on one device with three tabs. It wakes every four to fourteen hours, and then one tab
// refreshes, or all three at the same moment, or one after another within seconds. Of three clients
//
//   - two keep one storage item for all tabs and read it before each use. An answer is stored only where the item is still
//     the one that was presented, so a late answer never overwrites a newer token. Half of these clients have a retry key
//     in the item, and half of them are mobile: their network changes.
//   - one has a copy in the memory of each tab for up to a day, on one network and with one user agent. Its tabs store
//     whatever they get, also over a newer token; a tab whose copy is older than a day reads what is stored.
//
// One refresh in ten is carried out and its answer lost. The client asks again at once, within a minute, hours later or
// days later (then the device slept). One answer in twenty comes up to thirty seconds late; a client waits no longer, so
// what comes later is a lost answer. On 503 or no answer at all a client keeps its token and comes back; it signs in
// again only when it is refused and no other copy of its tabs is accepted either.
//
// Without a retry key, an answer must arrive within the late_retry after the use that lost the first one, and a client
// without a key makes sure of that here: a replay does not start the window again.
//
// # The thieves
//
// About one refresh in a hundred is followed by a theft, all of them at every fifth client, so that most sessions live
// through all the days. The thief copies the newest token or an older one; of a client with retry keys he sees the key in
// half of the cases. He is on another device mark. He begins seconds to days later, refreshes on a schedule of his own,
// with the newest token that he has or with one that he had before, makes retry keys of his own or not, and loses answers
// too.
//
// A theft is judged by asking. When one copy of the owner's (his storage, or one tab with a memory of its own) has refreshed
// twice, each time answered and more than a replay window after the thief, or once where the thief lacks the retry key, or
// when the owner is refused, the owner rests for a window and the thief asks with one of the tokens that he has, the
// stolen one among them. The theft is uncaught if he is given another. Then the session is thrown away.
//
// Presenting one token twice, in two tabs or because its answer was lost, is one refresh. A thief who comes within a
// window of the owner begins the count again: one who always does is a known limit. The window is taken half as long
// again, so that clocks which are set back in between do not blur it.
//
// # The servers
//
// Two servers share the store, one with a clock half a minute ahead of the store's and one as far behind. In the course of
// a storm everything is cut off and opened again, the store is unavailable for half an hour, and a primary Redis is killed
// after its replica has stopped to hear of writes, whereupon the replica takes over, with a clock that is set back.
// Redis confirms sign-ins and endings by its replica.
//
// The known limits of the design have small populations of their own, which are counted apart.
//
// Every decision comes from the seed. Requests of the same second run in parallel, so they interleave anew in each run.
package storm
