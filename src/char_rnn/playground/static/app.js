import { serverBackend } from "./backend_server.js";

const backend = window.charRnnBackend ?? serverBackend();
