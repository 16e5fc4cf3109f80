/* The page: a playground and its features. A feature is a module that listens to the playground's events (playground.js). */

import { serverBackend } from "./backend_server.js";
import { Learning } from "./learning.js";
import { startLooks } from "./looks.js";
import { Playground } from "./playground.js";
import { startDesk } from "./desk.js";
import { Inspector } from "./inspector.js";
import { startSession } from "./session.js";
import { isEmbedded, startEmbed } from "./embed.js";
import { Expectations } from "./expectations.js";
import { startRunProgress } from "./run_progress.js";
import { startFirstText } from "./first_text.js";
import { Links } from "./link.js";
import { Temperatures } from "./temperatures.js";

startLooks();
const playground = new Playground(window.charRnnBackend ?? serverBackend());
new Learning(playground);
startDesk(playground);
const inspector = new Inspector(playground);
if (isEmbedded) startEmbed(playground, inspector);
else startSession(playground, inspector);
new Links(playground, inspector);
new Temperatures(playground);
startFirstText(playground, inspector);
new Expectations(playground, inspector);
startRunProgress(playground);
playground.open();
