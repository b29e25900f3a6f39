// Every page: times, actions, forms; and where the page listens, its stream.
import { actions } from "./actions.js";
import { feed } from "./feed.js";
import { forms } from "./forms.js";
import { live } from "./live.js";
import { times } from "./times.js";

times();
actions();
forms();
live(feed());
